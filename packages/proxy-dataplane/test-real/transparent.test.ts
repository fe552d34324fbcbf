import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { ListenerConfig } from "../src/index.ts";
import { ADDRESS, filter, mayIsolate, network, on, proxyOnRouter, routeMarked, webOn } from "./namespaces.ts";
import { engines, folder, run, withPrograms } from "./programs.ts";

const PORT = 12_345;
const PROGRAMS = ["ip", "nft", "curl"];
const isPossible = mayIsolate();
if (!isPossible) test.skip("transparent mode (not possible here: network namespaces with nftables)");

/** What curl ends with when the connection is reset: before it is told that it is open, while it sends, before and while it receives. */
const RESET = [7, 52, 55, 56];

/** What curl on the client's host gives: the text, or its status where it fails. */
async function ask(url: string): Promise<string | number | null> {
  const { status, stdout } = await run("ip", [...on("client"), "curl", "-sS", "--max-time", "5", "-g", url]);
  return status === 0 ? stdout.toString() : status;
}

const redirect = `table inet relay { chain pre {
  type nat hook prerouting priority dstnat
  iifname "client" tcp dport 80 redirect to :${PORT};
}; }`;
const tproxy = `table inet relay { chain pre {
  type filter hook prerouting priority mangle
  iifname "client" ip protocol tcp tcp dport 80 tproxy ip to 127.0.0.1:${PORT} meta mark set 1 accept
  iifname "client" ip6 nexthdr tcp tcp dport 80 tproxy ip6 to [::1]:${PORT} meta mark set 1 accept;
}; }`;
const [server4, server6] = ADDRESS.server;
const [router4] = ADDRESS.router;

describe.skipIf(!isPossible).each(engines)("transparent mode in network namespaces, %s engine", (engine) => {
  withPrograms(
    PROGRAMS,
    "redirect: the client knows of no proxy, the server sees the proxy; not to the proxy itself",
    async () => {
      network();
      await webOn("server", 80);
      const accessLog = join(folder, `redirect-${engine}.log`);
      const listeners: ListenerConfig[] = [
        { kind: "redirect", listen: `0.0.0.0:${PORT}` },
        { kind: "redirect", listen: `[::]:${PORT}` },
      ];
      expect(await proxyOnRouter({ engine, listeners, accessLog })).toBe("started");
      filter(redirect);
      expect(await ask(`http://${server4}/a`)).toBe(`::ffff:10.77.2.1 ${server4}/a`);
      expect(await ask(`http://[${server6}]/b`)).toBe(`fd77:2::1 [${server6}]/b`);
      // Without being redirected, and redirected to where the proxy is: refused, and no connection more.
      expect(RESET).toContain(await ask(`http://${router4}:${PORT}/`));
      const lines = await logLines(accessLog, 3);
      expect(lines.map(({ target, result }) => [target, result])).toEqual([
        [`${server4}:80`, "ok"],
        [`[${server6}]:80`, "ok"],
        [expect.any(String), "loop"],
      ]);
      expect(lines.slice(0, 2).map(({ client }) => client.replace(/:\d+$/, ""))).toEqual(["10.77.1.2", "[fd77:1::2]"]);
    },
  );

  withPrograms(PROGRAMS, "tproxy: as redirect, with addresses left as they are", async () => {
    network();
    await webOn("server", 80);
    const accessLog = join(folder, `tproxy-${engine}.log`);
    const listeners: ListenerConfig[] = [
      { kind: "tproxy", listen: `127.0.0.1:${PORT}` },
      { kind: "tproxy", listen: `[::1]:${PORT}` },
    ];
    expect(await proxyOnRouter({ engine, listeners, accessLog })).toBe("started");
    routeMarked();
    filter(tproxy);
    expect(await ask(`http://${server4}/a`)).toBe(`::ffff:10.77.2.1 ${server4}/a`);
    expect(await ask(`http://[${server6}]/b`)).toBe(`fd77:2::1 [${server6}]/b`);
    const lines = await logLines(accessLog, 2);
    expect(lines.map(({ target, result }) => [target, result])).toEqual([
      [`${server4}:80`, "ok"],
      [`[${server6}]:80`, "ok"],
    ]);
  });

  withPrograms(
    PROGRAMS,
    "a rule in output that spares nobody: the proxy's own connections are refused, not served again and again",
    async () => {
      network();
      await webOn("server", 80);
      const accessLog = join(folder, `loop-${engine}.log`);
      const listeners: ListenerConfig[] = [
        { kind: "redirect", listen: `0.0.0.0:${PORT}` },
        { kind: "redirect", listen: `[::]:${PORT}` },
      ];
      expect(await proxyOnRouter({ engine, workers: 2, listeners, accessLog })).toBe("started");
      filter(redirect);
      filter(
        `table inet own { chain out { type nat hook output priority -100; tcp dport 80 redirect to :${PORT}; }; }`,
      );
      for (const host of [server4, `[${server6}]`]) expect(RESET).toContain(await ask(`http://${host}/a`));
      // As many rounds as one is accepted before another worker knows that it was made.
      const loops: string[] = [];
      for (let count = 4; loops.length < 2; count++) {
        const lines = await logLines(accessLog, count);
        loops.splice(0, 2, ...lines.filter(({ result }) => result === "loop").map(({ target }) => target));
      }
      expect(loops).toEqual([`${server4}:80`, `[${server6}]:80`]);
      filter("delete table inet own");
      expect(await ask(`http://${server4}/a`)).toBe(`::ffff:10.77.2.1 ${server4}/a`);
    },
  );

  withPrograms(PROGRAMS, "rules by the host that the client names, on redirected connections", async () => {
    network();
    await webOn("server", 80);
    const rules = [{ action: "reject", hosts: ["secret.test"] }] as const;
    const policy = { version: 1, selection: "failover", servers: [], defaultAction: "direct", rules } as const;
    const listeners: ListenerConfig[] = [{ kind: "redirect", listen: `0.0.0.0:${PORT}` }];
    expect(await proxyOnRouter({ engine, listeners, policy })).toBe("started");
    filter(redirect);
    const named = async (name: string): Promise<string | number | null> => {
      const args = ["-sS", "--max-time", "5", "--resolve", `${name}:80:${server4}`, `http://${name}/`];
      const { status, stdout } = await run("ip", [...on("client"), "curl", ...args]);
      return status === 0 ? stdout.toString() : status;
    };
    expect(await named("open.test")).toBe("::ffff:10.77.2.1 open.test/");
    expect(RESET).toContain(await named("secret.test"));
  });
});

describe.skipIf(!isPossible)("transparent mode without koffi", () => {
  withPrograms(PROGRAMS, "redirect finds the destination in the kernel's list of connections", async () => {
    network();
    await webOn("server", 80);
    const listeners: ListenerConfig[] = [
      { kind: "redirect", listen: `0.0.0.0:${PORT}` },
      { kind: "redirect", listen: `[::]:${PORT}` },
    ];
    expect(await proxyOnRouter({ listeners }, false)).toBe("started");
    filter(redirect);
    expect(await ask(`http://${server4}/a`)).toBe(`::ffff:10.77.2.1 ${server4}/a`);
    expect(await ask(`http://[${server6}]/b`)).toBe(`fd77:2::1 [${server6}]/b`);
    expect(RESET).toContain(await ask(`http://${router4}:${PORT}/`));
  });

  withPrograms(PROGRAMS, "tproxy is refused in one line that says why", async () => {
    network();
    const listeners: ListenerConfig[] = [{ kind: "tproxy", listen: `127.0.0.1:${PORT}` }];
    expect(await proxyOnRouter({ listeners }, false)).toBe(
      `RELAY_LISTEN cannot listen on 127.0.0.1 port ${PORT}: tproxy needs Linux and koffi`,
    );
  });
});

interface Line {
  readonly target: string;
  readonly result: string;
  readonly client: string;
}

/** The lines of an access log, once there are so many. */
async function logLines(path: string, count: number): Promise<readonly Line[]> {
  for (;;) {
    const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
    if (lines.length >= count) return lines.map((line) => JSON.parse(line) as Line);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
