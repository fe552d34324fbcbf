import { describe, expect, it } from "vitest";
import { formatProfile, Profiler, ProfileOutput, type ProfileFormat } from "../src/index.ts";
import { TestHal } from "./virtual-hal.ts";

/** Names that break what does not escape. */
const NASTY = 'say "hi", a;b\nc\\';

function profiled() {
  const hal = new TestHal(2);
  const profiler = Profiler.create({ hal });
  const [main, work, nasty] = ["main", "work", NASTY].map((name) => profiler.symbols.intern(name));
  profiler.start();
  profiler.record(1, 0, 1, false, Int32Array.of(main, work), 2, 6);
  profiler.record(2, 1, 2, true, Int32Array.of(main, nasty), 2, 2);
  hal.nowNs = 8_000_000;
  profiler.stop();
  return profiler;
}

/** One record of RFC 4180 CSV text after another. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [[]];
  const field = /("(?:[^"]|"")*"|[^,\n]*)(,|\n)/g;
  for (const [, raw, end] of text.matchAll(field)) {
    rows[rows.length - 1].push(raw.startsWith('"') ? raw.slice(1, -1).replaceAll('""', '"') : raw);
    if (end === "\n") rows.push([]);
  }
  return rows.slice(0, -1);
}

describe("formatProfile", () => {
  it("writes a table for people", () => {
    expect(formatProfile(profiled(), "text")).toBe(
      [
        "=== Performance Profile ===",
        "",
        "Total Samples: 8",
        "Kernel Samples: 2 (25.00%)",
        "User Samples: 6 (75.00%)",
        "Lost Samples: 0",
        "Filtered Samples: 0",
        "Interval: 1000000 ns",
        "Profiled Time: 0.008000 s",
        "",
        "=== Top Functions ===",
        "   Samples        %      Total  Function",
        "         6   75.00%          6  work",
        '         2   25.00%          2  say "hi", a;b c\\',
        "         0    0.00%          8  main",
        "",
        "=== Per-CPU Distribution ===",
        "   CPU    Samples        %       Lost",
        "     0          6   75.00%          0",
        "     1          2   25.00%          0",
        "",
      ].join("\n"),
    );
  });

  it("writes JSON that any name survives", () => {
    const document = JSON.parse(formatProfile(profiled(), "json"));
    expect(document).toMatchObject({
      total_samples: 8,
      kernel_samples: 2,
      user_samples: 6,
      lost_samples: 0,
      interval_ns: 1_000_000,
      elapsed_ns: 8_000_000,
      functions: [
        { name: "work", samples: 6, percentage: 75, total_samples: 6 },
        { name: NASTY, samples: 2, percentage: 25, total_samples: 2 },
        { name: "main", samples: 0, percentage: 0, total_samples: 8 },
      ],
      per_cpu: [
        { cpu: 0, samples: 6 },
        { cpu: 1, samples: 2 },
      ],
    });
  });

  it("writes CSV that any name survives", () => {
    expect(parseCsv(formatProfile(profiled(), "csv"))).toEqual([
      ["Function", "Samples", "Percentage", "Total"],
      ["work", "6", "75.00", "6"],
      [NASTY, "2", "25.00", "2"],
      ["main", "0", "0.00", "8"],
    ]);
  });

  it("writes collapsed stacks, one line each, with the task in front if it has a name", () => {
    const profiler = profiled();
    expect(formatProfile(profiler, "collapsed")).toBe(`main;say "hi", a:b c\\ 2\nmain;work 6\n`);
    expect(formatProfile(profiler, "collapsed", { taskName: (id) => `task;${id}` })).toBe(
      `task:1;main;work 6\ntask:2;main;say "hi", a:b c\\ 2\n`,
    );
  });

  it("limits the functions it lists, and nothing else", () => {
    const document = JSON.parse(formatProfile(profiled(), "json", { limit: 1 }));
    expect(document.functions).toHaveLength(1);
    expect(document.total_samples).toBe(8);
  });

  it("writes the same from statistics, from a profiler, and through ProfileOutput", () => {
    const stats = profiled().stats();
    for (const format of ["text", "json", "csv", "collapsed"] as const) {
      expect(new ProfileOutput(stats, format).generate()).toBe(formatProfile(profiled(), format));
    }
  });

  it("names a format it does not know", () => {
    expect(() => formatProfile(profiled(), "xml" as ProfileFormat)).toThrowError(/xml/);
  });
});
