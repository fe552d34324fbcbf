import { execFile, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunReport } from "../src/report/run-report.ts";

// Worker threads run the built program, so these tests start it as its users do.
const bin = fileURLToPath(new URL("../bin/kernel-sim.js", import.meta.url));
const captures = fileURLToPath(new URL("../captures/", import.meta.url));

interface Ended {
  readonly status: number;
  readonly output: string;
  readonly errors: string;
}

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "kernel-sim-threads-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function kernelSim(...words: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { maxBuffer: 2 ** 26, timeout: 25_000 };
    execFile(process.execPath, [bin, ...words], options, (error, output, errors) => {
      resolve({ status: error === null ? 0 : Number(error.code ?? -1), output, errors });
    });
  });
}

/** A scenario file; one upstream server at a time, so that no two CPUs race for the next one's turn. */
function scenario(name: string, members: object = {}): string {
  const file = join(folder, `${name}.json`);
  const servers = [{ type: "socks5", address: "10.20.0.1", port: 1080 }];
  const standard = {
    name,
    machine: "server-2s",
    traffic: { pcap: join(captures, "loopback.pcap"), repeat: 2, clients: 2 },
    proxy: { config: { selection: "failover", servers } },
  };
  writeFileSync(file, JSON.stringify({ ...standard, ...members }));
  return file;
}

async function report(...words: readonly string[]): Promise<RunReport> {
  const { status, output, errors } = await kernelSim("run", "--json", ...words);
  expect({ status, errors }).toEqual({ status: 0, errors: "" });
  return JSON.parse(output) as RunReport;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

describe("kernel-sim run --substrate threads", () => {
  it("accounts for every packet, on two CPUs, and finds the connections that the emulated machine finds", async () => {
    const file = scenario("two");
    const real = await report(file, "--substrate", "threads", "--cpus", "2");
    const virtual = await report(file, "--cpus", "2");
    expect(real.substrate).toBe("threads");
    expect(real.machine).toEqual(virtual.machine);
    expect(real.traffic.packets).toBe(virtual.traffic.packets);
    expect(real.traffic.flows).toEqual(virtual.traffic.flows);
    expect(real.forwarded.packets + real.drops.total).toBe(real.traffic.packets);
    expect(real.connections).toEqual(virtual.connections);
    expect(real.latency.count).toBe(real.forwarded.packets);
    expect(sum(real.cpus.map((cpu) => cpu.packets))).toBe(real.traffic.packets);
    expect(real.cpus.filter(({ online }) => online).map(({ cpu }) => cpu)).toEqual([0, 1]);
    expect(real.cpus[0].packets).toBeGreaterThan(0);
    expect(real.cpus[1].packets).toBeGreaterThan(0);
    expect(real.cpus[2].packets).toBe(0);
    expect(real.ipis["Halt"]).toBe(2);
  });

  it("has pages forgotten by every CPU that runs threads of the process", async () => {
    const steps = [{ computeUs: 20 }, { remapPages: 4 }, { sleepUs: 50 }];
    const file = scenario("remap", { threads: [{ name: "worker", count: 4, steps }] });
    const { translation, ipis } = await report(file, "--substrate", "threads", "--cpus", "2");
    expect(translation.shootdowns).toBeGreaterThan(0);
    expect(translation.requests).toBeLessThanOrEqual(translation.shootdowns);
    expect(ipis["TlbFlush"]).toBe(translation.requests);
    expect(translation.flushes).toBeGreaterThanOrEqual(translation.shootdowns);
    expect(translation.maxLatencyNs).toBeGreaterThan(0);
  });

  it("sends the same packets on one CPU and on two", async () => {
    const file = scenario("same");
    const one = await report(file, "--substrate", "threads", "--cpus", "1");
    const two = await report(file, "--substrate", "threads", "--cpus", "2");
    const other = await report(scenario("other", { proxy: {} }), "--substrate", "threads", "--cpus", "1");
    expect(two.traceHash).toBe(one.traceHash);
    expect(two.traceEvents).toBe(one.traceEvents);
    expect(other.traceHash).not.toBe(one.traceHash);
  });

  it("runs the scenario's threads where they may run, and wakes those that wait for connections", async () => {
    const file = scenario("programs", {
      threads: [
        { name: "daemon", priority: "high", steps: [{ awaitConnection: true }, { computeUs: 1 }] },
        { name: "worker", count: 3, steps: [{ computeUs: 200 }, { sleepUs: 100 }] },
        { name: "elsewhere", cpus: "8-15", steps: [{ computeUs: 1 }] },
      ],
    });
    const { threads, cpus } = await report(file, "--substrate", "threads", "--cpus", "2");
    const ran = Object.fromEntries(threads.map(({ name, runtimeNs }) => [name, runtimeNs]));
    expect(Object.keys(ran)).toEqual(["daemon", "worker/0", "worker/1", "worker/2", "elsewhere"]);
    expect(ran["daemon"]).toBeGreaterThan(0);
    expect(sum([ran["worker/0"], ran["worker/1"], ran["worker/2"]])).toBeGreaterThan(0);
    expect(ran["elsewhere"]).toBe(0);
    // Threads were charged what the CPUs spent on them before and during the run.
    expect(sum(cpus.map(({ userNs }) => userNs))).toBeGreaterThan(0);
  });

  it("applies changes of parameters and configuration while packets flow", async () => {
    const servers = [{ type: "http", address: "10.20.0.9", port: 3128 }];
    const file = scenario("events", {
      events: [
        { atMs: 0, parameters: { perf_batch_size: 8, perf_cache_size: 8192 } },
        { atMs: 0, config: { selection: "failover", servers } },
      ],
    });
    const { status, output } = await kernelSim("run", file, "--substrate", "threads", "--cpus", "1");
    expect(status).toBe(0);
    expect(output).toContain("mutex_proxy: perf_cache_size is now 8192\n");
    expect(output).toContain("mutex_proxy: configuration version 2: failover, 1 servers\n");
    expect(output).toContain("not observable on threads");
  });

  it("leaves the same artefacts behind as the emulated machine, but for its trace of grace periods", async () => {
    const file = scenario("artefacts");
    const real = join(folder, "real");
    const virtual = join(folder, "virtual");
    await report(file, "--cpus", "2", "--out", virtual);
    const printed = await report(file, "--cpus", "2", "--out", real, "--substrate", "threads");
    const traced = readdirSync(virtual).filter((name) => name !== "rcu_trace.txt");
    expect(readdirSync(real).sort()).toEqual(traced.sort());
    expect(JSON.parse(readFileSync(join(real, "report.json"), "utf8"))).toEqual(printed);
    expect(readFileSync(join(real, "dmesg.txt"), "utf8")).toContain("smp: Brought up 1 node, 2 CPUs");
  });

  it("refuses more CPUs than the machine has, with one line and status 2", async () => {
    const { status, output, errors } = await kernelSim(
      "run",
      scenario("many"),
      "--substrate",
      "threads",
      "--cpus",
      "99",
    );
    expect(status).toBe(2);
    expect(output).toBe("");
    expect(errors).toBe("kernel-sim: 99 CPUs are asked for; machine server-2s has 16\n");
  });
});

/** A run that takes far longer than the test. */
function endless(...nodeOptions: readonly string[]): ChildProcess {
  const traffic = { pcap: join(captures, "loopback.pcap"), repeat: 100_000 };
  const file = scenario("endless", { traffic, threads: [{ name: "busy", count: 4, steps: [{ computeUs: 100 }] }] });
  return spawn(process.execPath, [...nodeOptions, bin, "run", file, "--substrate", "threads", "--cpus", "2"]);
}

function ended(child: ChildProcess): Promise<{ readonly status: number | null; readonly errors: string }> {
  let errors = "";
  child.stderr?.on("data", (text: Buffer) => (errors += text.toString()));
  child.stdout?.resume();
  return new Promise((resolve) => child.once("close", (status) => resolve({ status, errors })));
}

describe("an interrupted run on threads", () => {
  it("ends at once with status 130", async () => {
    const child = endless();
    const end = ended(child);
    await new Promise<void>((resolve) => {
      let output = "";
      child.stdout?.on("data", (text: Buffer) => {
        output += text.toString();
        if (output.includes("Run /sbin/init")) resolve();
      });
    });
    child.kill("SIGINT");
    expect(await end).toEqual({ status: 130, errors: "" });
    // Threads of a process end with it: nothing is left to send a signal to.
    expect(() => process.kill(child.pid ?? 0, 0)).toThrow("ESRCH");
  });
});

describe("a run on threads of which one dies", () => {
  it.each([
    { cpu: 1, ms: 700, when: "in the middle of the traffic" },
    { cpu: 0, ms: 0, when: "while the CPUs come up" },
  ])("ends with an error that names the CPU: $when", async ({ cpu, ms }) => {
    const fixture = new URL(`fixtures/threads-kill-cpu.mjs?cpu=${cpu}&ms=${ms}`, import.meta.url).href;
    const { status, errors } = await ended(endless("--import", fixture));
    expect(status).toBe(2);
    expect(errors).toBe(`kernel-sim: the thread of CPU ${cpu} ended with exit code 1\n`);
  });
});
