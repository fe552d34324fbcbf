// `node bench/relay/run.mjs [--rounds 5] [--seconds 1] [--only NAME]`: the proxy with both engines, HAProxy in TCP mode, and proxies of npm, each on
// one core, the load on another. Every measurement of a proxy is paired with one of HAProxy just before it; the medians of the ratios count.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { checkContent } from "./content.mjs";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "1" },
    only: { type: "string", default: "" },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const folder = mkdtempSync(join(tmpdir(), "relay-bench-"));
const TARGET = 20_400;
const IDLE = 3000;
const CLOCK_TICKS = 100;
const ANSWER_MS = 60_000;

const has = (command) => spawnSync("sh", ["-c", `command -v ${command}`]).status === 0;
const isPinned = has("taskset") && availableParallelism() > 1;
const processes = [];

/** Start a process on a core; a script of Node.js says when it is ready, or why it will never be. */
function start(core, command, args) {
  const [file, ...rest] = isPinned ? ["taskset", "-c", String(core), command, ...args] : [command, ...args];
  const isScript = command === process.execPath;
  const child = spawn(file, rest, { stdio: ["ignore", "ignore", "inherit", ...(isScript ? ["ipc"] : [])] });
  processes.push(child);
  const ready = new Promise((resolve) => {
    if (isScript) child.once("message", resolve);
    else setTimeout(() => resolve("ready"), 500);
    child.once("exit", () => resolve("has ended"));
  });
  return { child, ready };
}

const script = (core, name, ...args) =>
  start(core, process.execPath, [join(import.meta.dirname, name), ...args.map(String)]);

/** Ask the load for something; `wrong` is what did not arrive as it was sent. */
function ask(load, message) {
  return new Promise((resolve, reject) => {
    const ended = () => reject(new Error(`${message.action}: no answer of the load`));
    const timer = setTimeout(ended, ANSWER_MS);
    load.child.once("exit", ended);
    load.child.once("message", (answer) => {
      clearTimeout(timer);
      load.child.off("exit", ended);
      resolve(answer);
    });
    load.child.send(message);
  });
}

/** CPU seconds and resident kilobytes of a process and its children. */
function usage(pid) {
  const own = (id) => readFileSync(`/proc/${id}/stat`, "latin1").split(") ")[1].split(" ");
  const children = readdirSync("/proc").filter((id) => /^\d+$/.test(id) && parentOf(id) === pid);
  let [ticks, kilobytes] = [0, 0];
  for (const id of [String(pid), ...children]) {
    const fields = own(id);
    ticks += Number(fields[11]) + Number(fields[12]);
    kilobytes += Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, "latin1"))?.[1] ?? 0);
  }
  return { seconds: ticks / CLOCK_TICKS, kilobytes };
}

function parentOf(id) {
  try {
    return Number(readFileSync(`/proc/${id}/stat`, "latin1").split(") ")[1].split(" ")[1]);
  } catch {
    return -1;
  }
}

function haproxy(port) {
  const file = join(folder, "haproxy.cfg");
  const listen = (at) => `listen l${at}\n  bind 127.0.0.1:${port + at}\n  server s 127.0.0.1:${TARGET + at}\n`;
  const defaults = "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 120s\n  timeout server 120s\n";
  writeFileSync(file, `global\n  nbthread 1\n  maxconn 9000\n${defaults}${listen(0)}${listen(1)}`);
  return start(1, "haproxy", ["-f", file, "-db"]);
}

function nginx(port) {
  const file = join(folder, "nginx.conf");
  const modules = "/usr/lib/nginx/modules/ngx_stream_module.so";
  writeFileSync(
    file,
    `load_module ${modules};\nworker_processes 1; daemon off; pid ${folder}/nginx.pid; error_log ${folder}/nginx.err;\n` +
      `worker_rlimit_nofile 20000; events { worker_connections 9000; }\n` +
      `stream { server { listen 127.0.0.1:${port + 2} udp; proxy_pass 127.0.0.1:${TARGET + 2}; proxy_timeout 10s; } }\n`,
  );
  return start(1, "nginx", ["-p", folder, "-c", file]);
}

const TESTS = [
  { name: "bulk, 1 stream", unit: "MB/s", at: 0, action: "bulk", count: 1 },
  { name: "bulk, 8 streams", unit: "MB/s", at: 0, action: "bulk", count: 8 },
  { name: "connections", unit: "/s", at: 1, action: "connections", count: 64 },
  { name: "requests", unit: "/s", at: 1, action: "requests", count: 64 },
];
const UDP = { name: "datagrams, 64 bytes", unit: "/s", at: 2, action: "datagrams", count: 64, size: 64 };

const CANDIDATES = [
  { name: "haproxy", port: 20_500, start: haproxy },
  { name: "epoll", port: 20_510 },
  { name: "node", port: 20_520 },
  { name: "proxy-chain", port: 20_530, protocol: "connect" },
  { name: "@pondwader/socks5-server", port: 20_540, protocol: "socks5" },
  { name: "simple-socks", port: 20_550, protocol: "socks5" },
  { name: "nginx", port: 20_560, start: nginx },
];

const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];

/** One measurement: what the load says, and the CPU time for each unit of it. */
async function measure(load, candidate, test, time = seconds) {
  const { protocol, port, process: running } = candidate;
  const target = TARGET + test.at;
  const where = protocol === undefined ? { port: port + test.at } : { port, target, protocol };
  const before = usage(running.child.pid).seconds;
  const { value, wrong } = await ask(load, { ...test, ...where, target, seconds: time });
  if (wrong > 0) throw new Error(`${candidate.name}: ${test.name}: ${wrong} did not arrive as sent`);
  return { value, cpu: (usage(running.child.pid).seconds - before) / (value * time) };
}

async function compare(load, reference, candidate, test) {
  const pairs = [];
  await measure(load, candidate, test);
  for (let round = 0; round < rounds; round++) {
    const base = await measure(load, reference, test);
    const own = await measure(load, candidate, test);
    pairs.push({ value: own.value, ratio: own.value / base.value, cpu: own.cpu / base.cpu });
  }
  const of = (key) => median(pairs.map((pair) => pair[key]));
  const what = `${candidate.name.padEnd(26)} ${test.name.padEnd(20)}`;
  const rate = `${Math.round(of("value"))} ${test.unit}`.padStart(14);
  console.log(
    `${what} ${rate}   ${of("ratio").toFixed(2)} × ${reference.name}, ${of("cpu").toFixed(2)} of its CPU time each`,
  );
}

async function idleMemory(load, candidate) {
  const { protocol, port, process: running } = candidate;
  const where = protocol === undefined ? { port: port + 1 } : { port, target: TARGET + 1, protocol };
  // The first ones make the heap as large as it gets; the rest count.
  await ask(load, { action: "hold", count: IDLE / 4, ...where });
  const before = usage(running.child.pid).kilobytes;
  await ask(load, { action: "hold", count: IDLE, ...where });
  const each = (usage(running.child.pid).kilobytes - before) / IDLE;
  const { wrong } = await ask(load, { action: "drop" });
  if (wrong > 0) throw new Error(`${candidate.name}: ${wrong} idle connections were not usable any more`);
  console.log(`${candidate.name.padEnd(26)} ${"idle connections".padEnd(20)} ${each.toFixed(1).padStart(11)} KB each`);
}

async function run() {
  const load = script(0, "load.mjs", TARGET);
  const engine = await load.ready;
  console.log(
    `${cpus()[0]?.model.trim()}, Node.js ${process.version}; load over the ${engine} engine, rounds: ${rounds}`,
  );
  if (!isPinned) console.log("not pinned: taskset is missing, or there is one core");
  for (const candidate of CANDIDATES) {
    if (values.only !== "" && candidate.start === undefined && candidate.name !== values.only) continue;
    const isMissing = candidate.start !== undefined && !has(candidate.name);
    candidate.process = isMissing
      ? undefined
      : (candidate.start?.(candidate.port) ?? script(1, "proxy.mjs", candidate.name, candidate.port, TARGET));
    const state = isMissing ? "is not installed" : await candidate.process.ready;
    if (state === "ready") continue;
    console.log(`${candidate.name} ${state}: left out`);
    candidate.process = undefined;
  }
  const [reference] = CANDIDATES;
  const others = CANDIDATES.filter(({ start, process: running }) => start === undefined && running !== undefined);
  for (const candidate of others) await checkContent(candidate, TARGET);
  for (const candidate of others) {
    if (reference.process !== undefined) for (const test of TESTS) await compare(load, reference, candidate, test);
  }
  const nginxProxy = CANDIDATES.at(-1);
  for (const candidate of others.filter(({ protocol }) => protocol === undefined)) {
    if (nginxProxy.process !== undefined) await compare(load, nginxProxy, candidate, UDP);
  }
  for (const candidate of [reference, ...others])
    if (candidate.process !== undefined) await idleMemory(load, candidate);
}

try {
  await run();
} finally {
  for (const child of processes) child.kill("SIGTERM");
  rmSync(folder, { recursive: true, force: true });
}
