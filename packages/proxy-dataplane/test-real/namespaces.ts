import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import type { RelayConfig } from "../src/index.ts";
import { built, file, later } from "./programs.ts";

const PREFIX = `relay${process.pid}`;

/** The hosts of a small network; the proxy is on the router. */
export type Host = "client" | "router" | "server";

/** Addresses by host: IPv4 and IPv6 of the side that others see. */
export const ADDRESS = {
  client: ["10.77.1.2", "fd77:1::2"],
  router: ["10.77.1.1", "fd77:1::1"],
  server: ["10.77.2.2", "fd77:2::2"],
} as const;

/** Whether this process may make network namespaces, and redirect in them. */
export function mayIsolate(): boolean {
  const name = `${PREFIX}-try`;
  if (spawnSync("ip", ["netns", "add", name]).status !== 0) return false;
  const rules = "table ip nat { chain pre { type nat hook prerouting priority 0; tcp dport 1 redirect to :2; }; }";
  const { status } = spawnSync("ip", ["netns", "exec", name, "nft", "-f", "-"], { input: rules });
  spawnSync("ip", ["netns", "del", name]);
  return status === 0;
}

/** The arguments of `ip` that run something on a host. */
export function on(host: Host): string[] {
  return ["netns", "exec", `${PREFIX}-${host}`];
}

function must(args: readonly string[], input = ""): void {
  const { status, stderr } = spawnSync("ip", args, { input, encoding: "utf8" });
  if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr}`);
}

/**
 * Three hosts, until the test is over:
 *
 *     client 10.77.1.2 ── 10.77.1.1 router 10.77.2.1 ── 10.77.2.2 server
 */
export function network(): void {
  for (const host of ["client", "router", "server"]) {
    const name = `${PREFIX}-${host}`;
    must(["netns", "add", name]);
    later(() => spawnSync("ip", ["netns", "del", name]));
    must(["-n", name, "link", "set", "lo", "up"]);
  }
  for (const [index, host] of (["client", "server"] as const).entries()) {
    const [name, router] = [`${PREFIX}-${host}`, `${PREFIX}-router`];
    must(["-n", router, "link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", name]);
    const net = index + 1;
    const ends = [
      [router, host, `10.77.${net}.1/24`, `fd77:${net}::1/64`],
      [name, "eth0", `10.77.${net}.2/24`, `fd77:${net}::2/64`],
    ] as const;
    for (const [where, device, ipv4, ipv6] of ends) {
      must(["-n", where, "addr", "add", ipv4, "dev", device]);
      must(["-n", where, "addr", "add", ipv6, "dev", device, "nodad"]);
      must(["-n", where, "link", "set", device, "up"]);
    }
    must(["-n", name, "route", "add", "default", "via", `10.77.${net}.1`]);
    must(["-n", name, "-6", "route", "add", "default", "via", `fd77:${net}::1`]);
  }
}

/** Rules of the router's packet filter. */
export function filter(rules: string): void {
  must([...on("router"), "nft", "-f", "-"], rules);
}

/** What TPROXY needs: marked packets come to this host, wherever they are going. */
export function routeMarked(): void {
  for (const family of ["-4", "-6"]) {
    must(["-n", `${PREFIX}-router`, family, "rule", "add", "fwmark", "1", "lookup", "100"]);
    const all = family === "-4" ? "0.0.0.0/0" : "::/0";
    must(["-n", `${PREFIX}-router`, family, "route", "add", "local", all, "dev", "lo", "table", "100"]);
  }
}

let scripts = 0;

/** A script of Node.js on a host, until the test is over; resolves with its first line. */
async function script(host: Host, source: string, options: readonly string[] = []): Promise<string> {
  const args = [...on(host), process.execPath, ...options, file(`script${++scripts}.mjs`, source)];
  const child = spawn("ip", args, { stdio: ["ignore", "pipe", "pipe"] });
  later(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  });
  let text = "";
  let complaints = "";
  child.stdout.setEncoding("utf8").on("data", (part: string) => (text += part));
  child.stderr.setEncoding("utf8").on("data", (part: string) => (complaints += part));
  while (!text.includes("\n")) {
    if (child.exitCode !== null) throw new Error(`a script has ended with ${child.exitCode}: ${complaints}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return text.split("\n")[0];
}

/** A web server on a host that says who asked for what. */
export async function webOn(host: Host, port: number): Promise<void> {
  await script(
    host,
    `import { createServer } from "node:http";
    createServer((request, response) => response.end(request.socket.remoteAddress + " " + request.headers.host + request.url))
      .listen(${port}, "::", () => console.log("up"));`,
  );
}

/** Makes `require("koffi")` fail, in the threads that a process starts too. */
const WITHOUT_KOFFI = `data:text/javascript,${encodeURIComponent(`
  import { Module } from "node:module";
  const load = Module._load;
  Module._load = (name, ...rest) => {
    if (name === "koffi") throw new Error("not installed");
    return load(name, ...rest);
  };`)}`;

/** A proxy on the router; the error's code and message where it does not start. */
export async function proxyOnRouter(config: Partial<RelayConfig>, hasKoffi = true): Promise<string> {
  return script(
    "router",
    `const { startProxy } = await import(${JSON.stringify(built)});
    const config = ${JSON.stringify({ version: 1, workers: 1, targets: { allow: ["10.77.0.0/16", "fd77::/16"] }, ...config })};
    await startProxy(config, { onMessage: (text) => console.error(text) }).then(
      (proxy) => console.log("started"),
      (error) => { console.log(error.code + " " + error.message); setTimeout(() => process.exit(), 1000); },
    );`,
    hasKoffi ? [] : ["--import", WITHOUT_KOFFI],
  );
}
