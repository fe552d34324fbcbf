import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parsePerfScript } from "../src/index.ts";

const frame = "\t    7f12 work+0x4 (/usr/bin/app)\n";

describe("parsePerfScript", () => {
  it.each([
    [
      "app 12/13 [002] 1.500000: 7 cycles:u: ",
      { comm: "app", pid: 12, tid: 13, cpu: 2, event: "cycles:u", period: "7" },
    ],
    ["my app  12 1.500000: cycles: ", { comm: "my app", pid: undefined, tid: 12, event: "cycles", period: "1" }],
    ["a 12 1.500000: cycles:", { comm: "a", tid: 12, event: "cycles" }],
    ["app 12 cpu-clock: ", { comm: "app", tid: 12, timeNs: undefined, event: undefined, period: "1" }],
    ["app 0/0 [000] 1.5: 0 cycles:", { pid: undefined, tid: 0, event: "cycles", period: "1" }],
    ["app 12//13 [000] 1.5:007 cycles:", { pid: 12, tid: 13, event: "cycles", period: "7" }],
    ["app 12 [000] 1.5: sched:sched_switch: prev=1 next=2", { tid: 12, event: undefined, period: "1" }],
    ["app 12 1.5: 18446744073709551615 cycles:", { period: "18446744073709551615" }],
  ])("reads the header %j", (header, members) => {
    const { samples, problems } = parsePerfScript(`${header}\n${frame}\n`);
    expect(problems).toEqual([]);
    expect(samples).toHaveLength(1);
    expect(samples[0]).toMatchObject(members);
    expect(samples[0].frames).toEqual([{ address: "7f12", symbol: "work+0x4", module: "/usr/bin/app" }]);
    if (header.includes("1.5")) expect(samples[0].timeNs).toBe(1_500_000_000);
  });

  it.each([
    ["\tab f(int) (m)", { address: "ab", symbol: "f(int)", module: "m" }],
    ["  ab f (x) y", { address: "ab", symbol: "f", module: "x" }],
    ["ab operator() (const) (/a/b)", { symbol: "operator() (const)", module: "/a/b" }],
    ["\tab f (/a b (deleted))", { symbol: "f (/a b", module: "deleted)" }],
    ["\tabcd (m)", { address: "abc", symbol: "d" }],
  ])("reads the function %j", (line, members) => {
    const { samples } = parsePerfScript(`app 12 1.5: cycles:\n${line}\n\n`);
    expect(samples[0].frames[0]).toMatchObject(members);
  });

  it("reads samples whose function is on their own line", () => {
    const line = "           false 39654 19115.489713:          1 cycles:u:  ffffffff9b201293 [unknown] ([unknown])\n";
    const { samples, problems } = parsePerfScript(line + line.trimStart());
    expect(problems).toEqual([]);
    expect(samples).toHaveLength(2);
    expect(samples[0]).toEqual(samples[1]);
    expect(samples[0]).toMatchObject({ comm: "false", tid: 39654, frames: [{ symbol: "[unknown]" }] });
  });

  it("skips comments, takes either line ending, and says which lines it did not understand", () => {
    const text = `# cmdline : perf record\napp 12 1.5: cycles:\n# note\n${frame}\tnonsense\n\n`;
    for (const input of [text, text.replaceAll("\n", "\r\n")]) {
      const { samples, problems } = parsePerfScript(input);
      expect(samples.map(({ frames }) => frames.length)).toEqual([1]);
      expect(problems).toMatchObject([{ line: 5, message: expect.stringContaining("nonsense") }]);
    }
  });

  it("ends a sample at its empty line, leaves out a last one that was cut off, and says so", () => {
    const sample = `app 12 1.5: cycles:\n${frame}\n`;
    const cut = parsePerfScript(sample + sample.trimEnd());
    expect(cut.samples).toHaveLength(1);
    expect(cut.problems).toMatchObject([{ message: expect.stringContaining("cut off") }]);
    const only = parsePerfScript(sample.trimEnd());
    expect([only.samples.length, only.problems.length]).toEqual([1, 0]);
  });

  it("makes no sample of an event without a stack that the next header follows, nor of functions without a header", () => {
    const { samples } = parsePerfScript(
      `${frame}\na1 1 1.5: x:\nb1 2 1.5: x:\n\nc1 3 1.5: x:\n${frame}d1 4 1.5: x:\n\n`,
    );
    expect(samples.map(({ comm, frames }) => [comm, frames.length])).toEqual([
      ["b1", 0],
      ["c1", 1],
      ["d1", 0],
    ]);
  });

  it("reads an empty text as no samples, and refuses what is not perf script's", () => {
    expect(parsePerfScript("").samples).toEqual([]);
    expect(parsePerfScript("# only a comment\n\n").samples).toEqual([]);
    for (const [text, offset] of [
      ["PERFILE2\0\0\u0001", 0],
      ["\n\nhello world\n", 2],
    ] as const) {
      expect(() => parsePerfScript(text)).toThrowError(
        expect.objectContaining({ code: "PROFILING_MALFORMED_INPUT", location: { offset } }),
      );
    }
  });

  it("never throws anything but its own error, and takes time linear in the worst of texts", () => {
    const alphabet = fc.constantFrom("a", "1", " ", "\t", "(", ")", ":", "/", "[", "]", "\n", ".", "->", "+0x");
    fc.assert(
      fc.property(fc.array(alphabet, { maxLength: 200 }), (parts) => {
        try {
          parsePerfScript(parts.join(""));
        } catch (error) {
          expect(error).toMatchObject({ code: "PROFILING_MALFORMED_INPUT" });
        }
      }),
    );
    for (const part of [" (", "1 ", " ", "1.1: ", "a:", "a 1 "]) {
      parsePerfScript(`app 12 1.5: cycles:\n${frame}\n${part.repeat(500_000)}`);
    }
  });
});
