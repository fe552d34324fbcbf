import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkCases, ratioToBest, runCase, unitOf } from "../cases.mjs";
import { measureAlternately, median } from "../measure.mjs";
import { formatFigure, formatTable } from "../table.mjs";

const quick = { rounds: 3, sampleMs: 0.2 };

describe("measuring", () => {
  it("takes the median of odd and even numbers of samples", () => {
    expect(median([5, 1, 3])).toBe(3);
    expect(median([4, 1, 3, 2])).toBe(2.5);
  });
  it("calls every function and returns a positive time for each", async () => {
    const calls = { a: 0, b: 0 };
    const times = await measureAlternately({ a: () => calls.a++, b: () => calls.b++ }, quick);
    expect(Object.keys(times)).toEqual(["a", "b"]);
    for (const name of ["a", "b"] as const) {
      expect(times[name]).toBeGreaterThan(0);
      expect(calls[name]).toBeGreaterThan(quick.rounds);
    }
  });
  it("awaits functions that return promises, one after the other", async () => {
    let running = 0;
    let most = 0;
    const step = async (): Promise<void> => {
      most = Math.max(most, ++running);
      await Promise.resolve();
      running--;
    };
    await measureAlternately({ step }, quick);
    expect(most).toBe(1);
  });
  it("tells a function that does a hundred times the work from one that does it once", async () => {
    const work = (n: number) => () => {
      let sum = 0;
      for (let i = 0; i < n; i++) sum += Math.sqrt(i + sum);
      return sum;
    };
    const { small, large } = await measureAlternately(
      { small: work(20), large: work(20_000) },
      { rounds: 5, sampleMs: 2 },
    );
    expect(large).toBeGreaterThan(small * 10);
  });
});

describe("cases", () => {
  it("are refused with the member that is wrong", () => {
    const ours = (): number => 1;
    expect(() => checkCases([])).toThrow("must be a list of cases");
    expect(() => checkCases([{ unit: "ns/op", ours }])).toThrow("«name»");
    expect(() => checkCases([{ name: "a", unit: "parsecs", ours }])).toThrow(
      "case 0 (a): «unit» must be a time per operation",
    );
    expect(() => checkCases([{ name: "a", unit: "ns/op", ops: 0, ours }])).toThrow("«ops»");
    expect(() => checkCases([{ name: "a", unit: "ns/op" }])).toThrow("«ours» or «setup»");
    expect(() => checkCases([{ name: "a", unit: "ns/op", ours }])).not.toThrow();
  });
  it("convert nanoseconds to times and rates", () => {
    expect(unitOf("µs/op", "").convert(1500)).toBe(1.5);
    expect(unitOf("op/s", "").convert(100)).toBe(1e7);
    expect(unitOf("Mpackets/s", "").convert(100)).toBe(10);
  });
  it("have a ratio above 1 when ours is better than the best peer, for times and for rates", () => {
    expect(ratioToBest(10, [40, 20], false)).toBe(2);
    expect(ratioToBest(40, [10, 20], true)).toBe(2);
    expect(ratioToBest(40, [], true)).toBeNull();
  });
  it("are set up before and torn down after the measurement, also when it fails", async () => {
    const events: string[] = [];
    const make = (ours: () => number) => ({
      name: "a",
      unit: "ns/op",
      ops: 10,
      setup: async () => {
        events.push("setup");
        return { ours, peers: { other: () => 2 }, teardown: () => events.push("teardown") };
      },
    });
    const result = await runCase(
      make(() => 1),
      quick,
    );
    expect(Object.keys(result)).toEqual(["name", "unit", "ours", "peers", "ratio"]);
    expect(result.peers).toHaveProperty("other");
    const broken = make(() => {
      throw new Error("broken");
    });
    await expect(runCase(broken, quick)).rejects.toThrow("broken");
    expect(events).toEqual(["setup", "teardown", "setup", "teardown"]);
  });
});

describe("table", () => {
  it("shows the best peer beside ours and the others behind it", () => {
    const text = formatTable([
      { package: "@x/a", name: "alloc", unit: "ns/op", ours: 10, peers: { slow: 100, quick: 25 }, ratio: 2.5 },
      { package: "@x/a", name: "alone", unit: "op/s", ours: 1234.5, peers: {}, ratio: null },
    ]);
    expect(text.split("\n")).toEqual([
      "@x/a",
      "  benchmark  unit   ours  best peer  peer              ratio",
      "  alloc      ns/op  10.0       25.0  quick (slow 100)  2.50×",
      "  alone      op/s   1235",
    ]);
  });
  it("keeps three digits", () => {
    expect([0.1234, 1.234, 12.34, 123.4, 12345.6].map(formatFigure)).toEqual(["0.12", "1.23", "12.3", "123", "12346"]);
  });
});

describe("pnpm bench", () => {
  let root = "";
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "bench-"));
    write("packages/a/package.json", '{ "name": "@x/a" }');
    write(
      "packages/a/bench/add.bench.mjs",
      'export default [{ name: "add", unit: "ns/op", ours: () => 1 + 1, peers: { other: () => 2 } }];',
    );
  });
  afterEach(() => rmSync(root, { recursive: true }));

  function write(name: string, text: string): void {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  function bench(...parameters: string[]): ReturnType<typeof spawnSync> {
    return spawnSync(process.execPath, ["run.mjs", "--root", root, "--quick", ...parameters], { encoding: "utf8" });
  }

  it("prints exactly the agreed JSON and nothing on standard error when nobody watches", () => {
    const { stdout, stderr, status } = bench("--json");
    expect(stderr).toBe("");
    expect(status).toBe(0);
    const results = JSON.parse(String(stdout));
    expect(results).toHaveLength(1);
    expect(Object.keys(results[0])).toEqual(["package", "name", "unit", "ours", "peers", "ratio", "environment"]);
    expect(Object.keys(results[0].environment)).toEqual(["cpu", "cores", "node", "v8", "date"]);
    expect(results[0]).toMatchObject({ package: "@x/a", name: "add", unit: "ns/op" });
  });
  it("reports a failing file, measures the others and exits with status 1", () => {
    write("packages/a/bench/broken.bench.mjs", 'throw new Error("no such thing");');
    write("packages/a/bench/crash.bench.mjs", "process.exit(3);");
    const { stdout, stderr, status } = bench("--json");
    expect(status).toBe(1);
    expect(JSON.parse(String(stdout))).toHaveLength(1);
    expect(stderr).toContain("@x/a broken.bench.mjs: Error: no such thing");
    expect(stderr).toContain("@x/a crash.bench.mjs: the process ended with status 3");
  });
  it("measures each case in a process of its own, unless it is only to be seen that they run", () => {
    write(
      "packages/a/bench/alone.bench.mjs",
      `let others = 0;
      const setup = async () => {
        if (others++ > 0) throw new Error("not alone");
        return { ours: () => 1 };
      };
      export default ["first", "second"].map((name) => ({ name, unit: "ns/op", setup }));`,
    );
    const options = ["run.mjs", "--root", root, "--json", "--only", "alone", "--rounds", "1", "--sample", "1"];
    const { stdout } = spawnSync(process.execPath, options, { encoding: "utf8" });
    expect(JSON.parse(stdout)).toMatchObject([{ name: "first" }, { name: "second" }]);
    expect(bench("--only", "alone").stderr).toContain("not alone");
  });
  it("measures only what --only names and says so when nothing matches", () => {
    write("packages/b/package.json", '{ "name": "@x/b" }');
    write("packages/b/bench/broken.bench.mjs", "throw new Error();");
    expect(bench("--only", "@x/a").status).toBe(0);
    const nothing = bench("--only", "zzz");
    expect(nothing.status).toBe(1);
    expect(nothing.stderr).toBe("bench: no benchmark matches zzz\n");
  });
});
