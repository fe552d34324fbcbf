import { userInfo } from "node:os";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { digest, freePort, patterned } from "../test/relay/peers.ts";
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

const curl = (...args: string[]): Promise<string> => output("curl", ["-sS", "--max-time", "20", ...args]);

describe.each(engines)("clients that people use, %s engine", (engine) => {
  const ways: readonly (readonly [string, (port: number) => readonly string[]])[] = [
    ["SOCKS4", (port) => ["--socks4", `127.0.0.1:${port}`]],
    ["SOCKS4a, the name resolved by the proxy", (port) => ["--socks4a", `127.0.0.1:${port}`]],
    ["SOCKS5", (port) => ["--socks5", `127.0.0.1:${port}`]],
    ["SOCKS5, the name resolved by the proxy", (port) => ["--socks5-hostname", `127.0.0.1:${port}`]],
    ["HTTP CONNECT", (port) => ["--proxytunnel", "--proxy", `http://127.0.0.1:${port}`]],
    ["plain HTTP in absolute form", (port) => ["--proxy", `http://127.0.0.1:${port}`]],
  ];
  for (const [name, way] of ways) {
    withPrograms(["curl"], `curl by ${name}: a page, 3 MB down, 1 MB up`, async () => {
      const { port } = await web();
      const { proxy: running, port: proxyPort } = await proxy(engine, {});
      // Without this curl asks no proxy for localhost.
      const args = ["--noproxy", "", ...way(proxyPort)];
      expect(await curl(...args, `http://localhost:${port}/page`)).toBe("GET /page");
      const down = await run("curl", ["-sS", ...args, `http://127.0.0.1:${port}/bytes`]);
      expect([down.status, digest(down.stdout)]).toEqual([0, digest(BYTES)]);
      const sent = patterned(1_000_000, 4);
      const up = await run("curl", ["-sS", ...args, "--data-binary", "@-", `http://127.0.0.1:${port}/`], sent);
      expect([up.status, digest(up.stdout)]).toEqual([0, digest(sent)]);
      await expectAtRest(running);
      const { accepted, relayed, failed } = running.status().counters;
      expect([relayed, failed]).toEqual([accepted, 0]);
    });
  }

  withPrograms(
    ["curl"],
    "curl by CONNECT to one proxy through another that speaks SOCKS5; not through the same",
    async () => {
      const { port } = await web();
      const [first, second] = [await proxy(engine, {}), await proxy(engine, {})];
      const by = (one: number, other: number): string[] => [
        "-sS",
        "--noproxy",
        "",
        "--preproxy",
        `socks5://127.0.0.1:${one}`,
        "-p",
        "-x",
        `http://127.0.0.1:${other}`,
        `http://127.0.0.1:${port}/both`,
      ];
      expect((await run("curl", by(first.port, second.port))).stdout.toString()).toBe("GET /both");
      expect((await run("curl", by(first.port, first.port))).status).toBe(97);
    },
  );

  withPrograms(["curl"], "curl is told why: wrong password, nobody there, forbidden, no such name", async () => {
    const { port } = await proxy(engine, { users: { joe: "secret" } });
    const nobody = await freePort();
    const as = (password: string): string[] => ["--noproxy", "", "-x", `http://joe:${password}@127.0.0.1:${port}`];
    const status = async (password: string, url: string): Promise<string> =>
      curl(...as(password), "-o", "/dev/null", "-w", "%{http_code}", url);
    expect(await status("wrong", `http://127.0.0.1:${nobody}/`)).toBe("407");
    expect(await status("secret", `http://127.0.0.1:${nobody}/`)).toBe("502");
    expect(await status("secret", "http://10.0.0.1/")).toBe("403");
    const socks = async (password: string, target: string): Promise<number | null> => {
      const args = ["-sS", "--noproxy", "", "-x", `socks5h://joe:${password}@127.0.0.1:${port}`, target];
      return (await run("curl", args)).status;
    };
    // CURLE_PROXY of a reply, or of a refused password.
    expect([await socks("wrong", "http://127.0.0.1/"), await socks("secret", `http://127.0.0.1:${nobody}/`)]).toEqual([
      97, 97,
    ]);
  });

  withPrograms(
    ["ssh", "sshd", "ssh-keygen", "nc"],
    "ssh by nc -X 5, -X 4 and -X connect: 2 MB through a shell",
    async () => {
      const sshPort = await freePort();
      const [host, own] = [join(folder, `host-${engine}`), join(folder, `own-${engine}`)];
      for (const key of [host, own]) await output("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
      file("authorized", readFileSync(`${own}.pub`, "utf8"), 0o600);
      await run("mkdir", ["-p", "/run/sshd"]);
      const lines = [
        `Port ${sshPort}`,
        "ListenAddress 127.0.0.1",
        `HostKey ${host}`,
        `AuthorizedKeysFile ${join(folder, "authorized")}`,
        "PidFile none",
        "StrictModes no",
        "UsePAM no",
        "PermitRootLogin yes",
      ];
      const config = file(`sshd-${engine}.conf`, `${lines.join("\n")}\n`);
      const sshd = (await output("sh", ["-c", "command -v sshd"])).trim();
      await server(sshd, ["-D", "-e", "-f", config], sshPort);
      const { proxy: running, port } = await proxy(engine, {});
      const sent = patterned(2_000_000, 6);
      for (const version of ["5", "4", "connect"]) {
        const options = [
          ["ProxyCommand", `nc -X ${version} -x 127.0.0.1:${port} %h %p`],
          ["StrictHostKeyChecking", "no"],
          ["UserKnownHostsFile", "/dev/null"],
          ["BatchMode", "yes"],
          ["LogLevel", "ERROR"],
        ].flatMap(([name, value]) => ["-o", `${name}=${value}`]);
        const login = `${userInfo().username}@127.0.0.1`;
        const { status, stdout, stderr } = await run(
          "ssh",
          ["-F", "none", "-i", own, "-p", `${sshPort}`, ...options, login, "cat"],
          sent,
        );
        expect([status, stderr, digest(stdout)]).toEqual([0, "", digest(sent)]);
      }
      await expectAtRest(running);
      expect(running.status().counters).toMatchObject({ relayed: 3, failed: 0 });
    },
  );

  withPrograms(
    ["proxychains4", "curl"],
    "proxychains4 by SOCKS5, SOCKS4 and HTTP, and a chain of all three",
    async () => {
      const { port: target } = await web();
      const running = [await proxy(engine, {}), await proxy(engine, {}), await proxy(engine, {})];
      const chains = [["socks5"], ["socks4"], ["http"], ["socks5", "http", "socks4"]];
      for (const [index, chain] of chains.entries()) {
        const list = chain.map((kind, at) => `${kind} 127.0.0.1 ${running[at].port}`).join("\n");
        const config = file(`chain${index}`, `strict_chain\ntcp_read_time_out 15000\n[ProxyList]\n${list}\n`);
        const args = ["-q", "-f", config, "curl", "-sS", "--max-time", "20", `http://127.0.0.1:${target}/bytes`];
        const { status, stdout } = await run("proxychains4", args);
        expect([status, digest(stdout)]).toEqual([0, digest(BYTES)]);
      }
      for (const each of running) await expectAtRest(each.proxy);
      expect(running.map((each) => each.proxy.status().counters.relayed)).toEqual([4, 1, 1]);
    },
  );

  withPrograms(["chromium"], "Chromium shows a page by SOCKS5 and by HTTP, its pictures and scripts too", async () => {
    const { port: target, peers } = await web();
    const { proxy: running, port } = await proxy(engine, {});
    const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"];
    const quiet = ["--disable-background-networking", "--disable-component-update", "--proxy-bypass-list=<-loopback>"];
    for (const scheme of ["socks5", "http"]) {
      const profile = join(folder, `chromium-${engine}-${scheme}`);
      const way = [`--user-data-dir=${profile}`, `--proxy-server=${scheme}://127.0.0.1:${port}`];
      const { stdout } = await run("chromium", [
        ...flags,
        ...quiet,
        ...way,
        "--dump-dom",
        `http://127.0.0.1:${target}/from-${scheme}`,
      ]);
      expect(stdout.toString()).toContain(`GET /from-${scheme}`);
    }
    expect(peers.length).toBeGreaterThanOrEqual(2);
    expect(running.status().counters.relayed).toBeGreaterThanOrEqual(2);
  });
});
