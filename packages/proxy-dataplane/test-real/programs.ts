import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createWebServer } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, test } from "vitest";
import type { EngineName, RelayConfig } from "../src/index.ts";
import type * as NodeEntry from "../src/node/index.ts";
import { loadLibc } from "../src/node/epoll/libc.ts";
import { patterned } from "../test/relay/peers.ts";

/** The built package: workers load it. */
export const built: string = pathToFileURL(join(process.cwd(), "dist/node/index.js")).href;
const { startProxy } = (await import(built)) as typeof NodeEntry;

/** The engines that work here. */
export const engines: readonly EngineName[] = typeof loadLibc() === "string" ? ["node"] : ["node", "epoll"];

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** Undo something when the test is over. */
export function later(cleanup: () => unknown): void {
  cleanups.push(cleanup);
}

/** For files of a test file. */
export const folder: string = mkdtempSync(join(tmpdir(), "relay-real-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

export function file(name: string, text: string, mode = 0o644): string {
  const path = join(folder, name);
  writeFileSync(path, text, { mode });
  return path;
}

const found = new Map<string, boolean>();

function isInstalled(program: string): boolean {
  const known = found.get(program) ?? spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;
  found.set(program, known);
  return known;
}

/** A test that needs programs; where one is missing it is skipped, and says which. */
export function withPrograms(programs: readonly string[], name: string, run: () => Promise<void>): void {
  const missing = programs.filter((program) => !isInstalled(program));
  if (missing.length > 0) test.skip(`${name} (not installed: ${missing.join(", ")})`, run);
  else test(name, run);
}

/** What a program gave. */
export interface Outcome {
  readonly status: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Run a program to its end; after 30 s it is ended. */
export async function run(program: string, args: readonly string[], input: string | Buffer = ""): Promise<Outcome> {
  const child = spawn(program, args, { timeout: 30_000, killSignal: "SIGKILL" });
  const parts: Buffer[] = [];
  let stderr = "";
  child.stdout.on("data", (part: Buffer) => parts.push(part));
  child.stderr.setEncoding("utf8").on("data", (part: string) => (stderr += part));
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  const [status] = (await once(child, "close")) as [number | null];
  return { status, stdout: Buffer.concat(parts), stderr };
}

/** What a program printed; fails where it failed. */
export async function output(program: string, args: readonly string[], input: string | Buffer = ""): Promise<string> {
  const { status, stdout, stderr } = await run(program, args, input);
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: status ${status}: ${stderr}${stdout.toString()}`);
  return stdout.toString();
}

/** Run a server until the test is over. Resolves when it listens on `port` of this host. */
export async function server(program: string, args: readonly string[], port: number): Promise<void> {
  const child = start(program, args);
  while (!(await isListening(port))) {
    if (child.exitCode !== null) throw new Error(`${program} has ended with ${child.exitCode}: ${said.get(child)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const said = new WeakMap<ChildProcess, string>();

/** A program that runs until the test is over. */
export function start(program: string, args: readonly string[]): ChildProcess {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (part: string) => said.set(child, (said.get(child) ?? "") + part));
  }
  later(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  return child;
}

/** What a program has said so far. */
export function saidBy(child: ChildProcess): string {
  return said.get(child) ?? "";
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  const result = await new Promise<boolean>((resolve) => {
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(false));
  });
  socket.destroy();
  return result;
}

/** What the web server gives for `/bytes`. */
export const BYTES: Buffer = patterned(3_000_000, 11);

/** A web server of the test: `/bytes`, and for other paths the path and what it knows of who asks. */
export async function web(): Promise<{ readonly port: number; readonly peers: number[] }> {
  const peers: number[] = [];
  const http = createWebServer((request, response) => {
    peers.push(request.socket.remotePort ?? 0);
    if (request.url === "/bytes") response.end(BYTES);
    else if (request.method === "POST") {
      response.setHeader("Content-Length", request.headers["content-length"] ?? 0);
      request.pipe(response);
    } else response.end(`${request.method} ${request.url}`);
  });
  http.keepAliveTimeout = 1;
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  later(() => {
    http.closeAllConnections();
    http.close();
  });
  return { port: (http.address() as { port: number }).port, peers };
}

/** A proxy of one worker, and the port of its first listener. */
export async function proxy(
  engine: EngineName,
  config: Partial<RelayConfig>,
): Promise<{ readonly proxy: NodeEntry.RunningProxy; readonly port: number }> {
  const running = await startProxy({
    version: 1,
    workers: 1,
    engine,
    listeners: [{ kind: "mixed", listen: "127.0.0.1:0" }],
    targets: { allow: ["127.0.0.0/8", "::1"] },
    ...config,
  });
  later(() => running.close());
  return { proxy: running, port: running.endpoints[0].port };
}

/** Nothing is left of what went through, and nothing failed. */
export async function expectAtRest(running: NodeEntry.RunningProxy): Promise<void> {
  while (running.status().connections > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  const { accepted, closed } = running.status().counters;
  if (accepted !== closed) throw new Error(`${accepted} accepted, ${closed} closed`);
}
