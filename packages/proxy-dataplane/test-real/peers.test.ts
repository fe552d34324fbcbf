import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { digest, freePort } from "../test/relay/peers.ts";
import {
  BYTES,
  engines,
  expectAtRest,
  file,
  folder,
  output,
  proxy,
  run,
  server,
  web,
  withPrograms,
} from "./programs.ts";

/** HAProxy with the given sections, in the foreground. */
async function haproxy(name: string, port: number, sections: string): Promise<void> {
  const common = "global\n  maxconn 100\ndefaults\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n";
  await server("haproxy", ["-db", "-f", file(name, `${common}${sections}\n`)], port);
}

/** Dante, which sends on what matches `routes` by way of other proxies. */
async function dante(name: string, port: number, routes = ""): Promise<void> {
  const config = `logoutput: stderr
internal: 127.0.0.1 port = ${port}
external: lo
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 protocol: tcp udp }
${routes}
`;
  await server("danted", ["-f", file(name, config)], port);
}

describe.each(engines)("other proxies, %s engine", (engine) => {
  for (const version of ["v1", "v2"] as const) {
    withPrograms(
      ["haproxy", "curl"],
      `HAProxy in front, PROXY protocol ${version}: the client is who asked HAProxy`,
      async () => {
        const { port: target } = await web();
        const log = join(folder, `front-${engine}-${version}.log`);
        const { proxy: running, port } = await proxy(engine, {
          listeners: [
            { kind: "forward", listen: "127.0.0.1:0", target: `127.0.0.1:${target}`, acceptProxyProtocol: true },
          ],
          accessLog: log,
        });
        const front = await freePort();
        const send = version === "v1" ? "send-proxy" : "send-proxy-v2 proxy-v2-options crc32c,unique-id";
        await haproxy(
          `front-${engine}-${version}`,
          front,
          `listen front\n  mode tcp\n  unique-id-format %[uuid()]\n  bind 127.0.0.1:${front}\n  server relay 127.0.0.1:${port} ${send}`,
        );
        const local = await freePort();
        const args = ["-sS", "--local-port", `${local}`, `http://127.0.0.1:${front}/bytes`];
        const { status, stdout } = await run("curl", args);
        expect([status, digest(stdout)]).toEqual([0, digest(BYTES)]);
        await expectAtRest(running);
        await running.close();
        const clients = readFileSync(log, "utf8").match(/"client":"[^"]+"/g);
        expect(clients).toContain(`"client":"127.0.0.1:${local}"`);
      },
    );

    withPrograms(
      ["haproxy", "curl"],
      `HAProxy behind, PROXY protocol ${version}: it knows who the client is`,
      async () => {
        const back = await freePort();
        await haproxy(
          `back-${engine}-${version}`,
          back,
          `frontend back\n  mode http\n  bind 127.0.0.1:${back} accept-proxy\n  http-request return status 200 content-type text/plain lf-string "%ci %cp"`,
        );
        const { port } = await proxy(engine, {
          listeners: [
            { kind: "forward", listen: "127.0.0.1:0", target: `127.0.0.1:${back}`, sendProxyProtocol: version },
          ],
        });
        const local = await freePort();
        const answer = await output("curl", ["-sS", "--local-port", `${local}`, `http://127.0.0.1:${port}/`]);
        expect(answer).toBe(`127.0.0.1 ${local}`);
      },
    );
  }

  withPrograms(["danted", "curl"], "dante behind: the way to the target, by address and by name", async () => {
    const { port: target } = await web();
    const behind = await freePort();
    await dante(`behind-${engine}`, behind);
    const { proxy: running, port } = await proxy(engine, {
      policy: {
        version: 1,
        selection: "failover",
        servers: [{ type: "socks5", address: "127.0.0.1", port: behind }],
        bypassClasses: [],
      },
    });
    for (const host of ["127.0.0.1", "localhost"]) {
      const args = ["-sS", "--noproxy", "", "-x", `socks5h://127.0.0.1:${port}`, `http://${host}:${target}/bytes`];
      const { status, stdout } = await run("curl", args);
      expect([status, digest(stdout)]).toEqual([0, digest(BYTES)]);
    }
    await expectAtRest(running);
    expect(running.status().counters).toMatchObject({ relayed: 2, retries: 0, failed: 0 });
  });

  withPrograms(["danted"], "dante behind: datagrams, by UDP ASSOCIATE", async () => {
    const echo = createSocket("udp4");
    echo.on("message", (message, { port, address }) => echo.send(message, port, address));
    echo.bind(0, "127.0.0.1");
    await once(echo, "listening");
    const behind = await freePort();
    await dante(`udp-behind-${engine}`, behind);
    const { proxy: running, port } = await proxy(engine, {
      listeners: [{ kind: "udp", listen: "127.0.0.1:0", target: `127.0.0.1:${echo.address().port}` }],
      timeouts: { udpIdleMs: 1000 },
      policy: {
        version: 1,
        selection: "failover",
        servers: [{ type: "socks5", address: "127.0.0.1", port: behind }],
        bypassClasses: [],
      },
    });
    const mine = createSocket("udp4");
    for (const text of ["one", "two"]) {
      const heard = once(mine, "message");
      mine.send(text, port, "127.0.0.1");
      expect(String((await heard)[0])).toBe(text);
    }
    for (const socket of [mine, echo]) socket.close();
    await expectAtRest(running);
    expect(running.status().counters).toMatchObject({ udpFlows: 1, udpDropped: 0, failed: 0 });
  });

  withPrograms(["danted", "curl"], "dante in front: it sends its clients on by SOCKS4 and SOCKS5", async () => {
    const { port: target } = await web();
    for (const version of ["socks_v5", "socks_v4"]) {
      const { proxy: running, port } = await proxy(engine, {});
      const front = await freePort();
      const via = `from: 0.0.0.0/0 to: 127.0.0.0/8 via: 127.0.0.1 port = ${port}`;
      // Its grammar wants the lines in this order.
      const route = `route {\n  ${via}\n  protocol: tcp\n  proxyprotocol: ${version}\n  command: connect\n}`;
      await dante(`front-${engine}-${version}`, front, route);
      const args = ["-sS", "--noproxy", "", "-x", `socks5://127.0.0.1:${front}`, `http://127.0.0.1:${target}/bytes`];
      const { status, stdout, stderr } = await run("curl", args);
      expect([status, stderr, digest(stdout)]).toEqual([0, "", digest(BYTES)]);
      await expectAtRest(running);
      expect(running.status().counters).toMatchObject({ relayed: 1, failed: 0 });
    }
  });
});
