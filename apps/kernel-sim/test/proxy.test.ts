import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import type { RelayConnection } from "@x/proxy-dataplane";
import type { ProxyStatus } from "@x/proxy-dataplane/node";
import { packageFolder } from "../src/package-folder.ts";
import { kernelSim, kernelSimJson } from "./cli.ts";

const folder = mkdtempSync(join(tmpdir(), "proxy-cli-"));
afterAll(() => rmSync(folder, { recursive: true }));
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const configFile = join(folder, "proxy.json");
const socket = join(folder, "control");

function configure(more: object = {}): void {
  const listeners = [{ kind: "mixed", listen: "127.0.0.1:0" }];
  const targets = { allow: ["127.0.0.1"] };
  writeFileSync(configFile, JSON.stringify({ version: 1, workers: 1, control: socket, listeners, targets, ...more }));
}

/** A proxy as the command line runs it, once it says that it runs, and where it listens. */
async function run(
  ...args: string[]
): Promise<{ child: ChildProcessWithoutNullStreams; port: number; log: () => string }> {
  const command = [join(packageFolder, "bin/kernel-sim.js"), "proxy", "--config", configFile, ...args];
  const child = spawn(process.execPath, command);
  let text = "";
  child.stderr.setEncoding("utf8").on("data", (part: string) => (text += part));
  cleanups.push(() => child.kill("SIGKILL"));
  while (!text.includes("1 workers") || kernelSim(["proxy", "status", "--control", socket]).status !== 0) {
    if (child.exitCode !== null) throw new Error(text);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { child, port: Number(/mixed on 127\.0\.0\.1:(\d+)/.exec(text)?.[1]), log: () => text };
}

async function echoServer(): Promise<number> {
  const server: Server = createServer((each) => {
    each.on("error", () => undefined);
    each.pipe(each);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => server.close());
  return (server.address() as { port: number }).port;
}

async function through(port: number, target: number, text: string): Promise<Socket> {
  const client = connect(port, "127.0.0.1");
  client.on("error", () => undefined);
  client.write(`CONNECT 127.0.0.1:${target} HTTP/1.1\r\n\r\n${text}`);
  let got = "";
  client.setEncoding("utf8").on("data", (part: string) => (got += part));
  cleanups.push(() => client.destroy());
  while (!got.endsWith(`\r\n\r\n${text}`)) await new Promise((resolve) => setTimeout(resolve, 5));
  return client;
}

const ask = (...args: string[]) => kernelSim(["proxy", ...args]);

test("status, connections, kill and top tell of a running proxy, as text and as JSON", async () => {
  configure();
  const target = await echoServer();
  const { port } = await run();
  await through(port, target, "hello");
  const byConfig = ask("status", "--config", configFile);
  expect(byConfig.stdout).toMatch(/running for \d+ s, configuration \d+\n1 workers, 0 replaced\n1 of at most 65536/);
  expect(byConfig.stdout).toContain(`mixed on 127.0.0.1:${port}`);
  const status = kernelSimJson<ProxyStatus>(["proxy", "status", "--control", socket]);
  expect(status).toMatchObject({
    workers: 1,
    connections: 1,
    isDraining: false,
    counters: { accepted: 1, relayed: 1 },
  });
  const connections = kernelSimJson<RelayConnection[]>(["proxy", "connections", "--control", socket]);
  expect(connections).toMatchObject([
    { state: "relaying", target: `127.0.0.1:${target}`, clientBytes: 5, serverBytes: 5, cpu: 1 },
  ]);
  expect(ask("connections", "--control", socket).stdout).toMatch(new RegExp(`${connections[0].id} .*relaying.*127`));

  const top = spawn(process.execPath, [
    join(packageFolder, "bin/kernel-sim.js"),
    "proxy",
    "top",
    "--control",
    socket,
    "--interval",
    "100",
  ]);
  cleanups.push(() => top.kill());
  let view = "";
  top.stdout.setEncoding("utf8").on("data", (part: string) => (view += part));
  while ((view.match(/accepted\/s/g) ?? []).length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(view).toMatch(/^1 connections, 0 accepted\/s, 0 failed\/s, 0 look-ups\/s\n/);
  expect(view).toContain(`127.0.0.1:${target}`);

  expect(ask("kill", `${connections[0].id}`, "--control", socket)).toMatchObject({ status: 0 });
  expect(ask("kill", `${connections[0].id}`, "--control", socket)).toMatchObject({ status: 2 });
  expect(kernelSimJson<unknown[]>(["proxy", "connections", "--control", socket])).toEqual([]);
});

test("reload, by command and by signal: a wrong file changes nothing and is told", async () => {
  configure();
  const { child, log } = await run();
  const before = kernelSimJson<ProxyStatus>(["proxy", "status", "--control", socket]).configVersion;
  configure({ timeouts: { idleMs: 1000 } });
  expect(ask("reload", "--control", socket)).toMatchObject({ status: 0, stdout: `version: ${before + 1}\n` });
  configure({ timeouts: { idleMs: -1 } });
  const wrong = ask("reload", "--control", socket);
  expect(wrong.status).toBe(2);
  expect(wrong.stderr).toContain("-1 is not an integer from 0");
  child.kill("SIGHUP");
  while (!log().includes("not reloaded")) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(kernelSimJson<ProxyStatus>(["proxy", "status", "--control", socket]).configVersion).toBe(before + 1);
  expect(ask("--config", configFile, "--check").status).toBe(2);
});

test("drain waits for what is open, and ends; then nobody answers", async () => {
  configure();
  const target = await echoServer();
  const { child, port, log } = await run();
  const client = await through(port, target, "hello");
  expect(ask("drain", "--control", socket, "--timeout", "60000", "--json")).toMatchObject({ status: 0 });
  while (!log().includes("draining 1 connections")) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(kernelSimJson<ProxyStatus>(["proxy", "status", "--control", socket]).isDraining).toBe(true);
  client.end();
  const [code] = await once(child, "exit");
  expect([code, log().includes("0 connections cut off")]).toEqual([0, true]);
  const gone = ask("status", "--control", socket);
  expect([gone.status, gone.stderr]).toEqual([2, expect.stringMatching(/^kernel-sim: .*no proxy answers/)]);
});

test("--pcap: what passed is a capture that flows and run take", async () => {
  const pcap = join(folder, "day.pcap");
  configure();
  const target = await echoServer();
  const { child, port } = await run("--pcap", pcap);
  for (const text of ["one", "two".repeat(2000)]) (await through(port, target, text)).end();
  while (kernelSimJson<ProxyStatus>(["proxy", "status", "--control", socket]).connections > 0) {
    await new Promise((resolve) => setTimeout(resolve, 10)); // The connections end in this thread.
  }
  child.kill("SIGTERM");
  await once(child, "exit");
  expect(readFileSync(pcap).readUInt32LE(0)).toBe(0xa1b23c4d);
  const flows = kernelSimJson<{ flows: { tcp: number }; malformed: number; checksums: { tcpBad: number } }>([
    "flows",
    pcap,
  ]);
  expect(flows).toMatchObject({ flows: { tcp: 2 }, malformed: 0, checksums: { tcpBad: 0, ipBad: 0 } });
  const report = kernelSim(["run", "--pcap", pcap, "--machine", "laptop", "--cpus", "2"]);
  expect([report.status, report.stderr]).toEqual([0, ""]);
});

test("help of the proxy and of what asks it has examples", () => {
  for (const name of ["status", "connections", "kill", "drain", "reload", "reopen-logs", "top"]) {
    const { stdout, status } = ask(name, "--help");
    expect(status).toBe(0);
    expect(stdout).toMatch(new RegExp(`Examples:\\n[^]*kernel-sim proxy ${name} `));
  }
  expect(ask("--help").stdout).toMatch(/--pcap[^]*Examples:[^]*kernel-sim proxy top/);
});
