import { describe, expect, it } from "vitest";
import { collapse, collapsePerfScript, parsePerfScript, StackCollapser, type CollapseOptions } from "../src/index.ts";

const fold = (text: string, options: CollapseOptions = {}) => collapsePerfScript(text, options).lines;
const foldOne = (frame: string, options: CollapseOptions = {}, comm = "app") =>
  fold(`${comm} 12/13 [000] 1.5: 7 cycles: \n\t${frame}\n\n`, options)[0]
    .replace(/^[^;]*;?/, "")
    .replace(/ 7$/, "");

describe("collapse", () => {
  it("sums the periods of equal stacks, outermost function first", () => {
    const text = "app 1 1.0: 3 c:\n\ta in (x)\n\tb out (x)\n\n";
    expect(fold(text + text + "app 1 1.0: 1 c:\n\n")).toEqual(["app 1", "app;out;in 6"]);
  });

  it.each([
    ["f+0x1a (x)", "f"],
    ["f+0xZ (x)", "f+0xZ"],
    ["f(int) const (x)", "f"],
    ["ns::(anonymous namespace)::f(int) (x)", "ns::(anonymous namespace)::f"],
    ["net/http.(*conn).serve (x)", "net/http.(*conn).serve"],
    ["operator()(int) (x)", "operator"],
    ["<a;b>'\" (x)", "<a:b>"],
    ["(app) (x)", ""],
    ["[unknown] ([unknown])", "[unknown]"],
    ["[unknown]+0x0 (/lib/libc.so)", "[libc.so]"],
    ["[unknown] ([vdso])", "[[vdso]]"],
    ["a->b->c+0x4 (x)", "a;b_[i];c_[i]"],
    ["a->[unknown]-> (/l/m.so)", "a;[m.so]_[i]"],
    ["->b_[i] (x)", ";b_[i]"],
  ])("names %j", (frame, expected) => {
    expect(foldOne(`7f ${frame}`)).toBe(expected);
  });

  it.each([
    [{ kernel: true }, "f ([kernel.kallsyms])", "f_[k]"],
    [{ kernel: true }, "f ([unknown])", "f"],
    [{ kernel: true }, "f (/boot/vmlinux)", "f_[k]"],
    [{ kernel: true }, "f (/boot/vmlinux-5.4.1)", "f_[k]"],
    [{ kernel: true }, "f (/lib/modules/e1000.ko.xz)", "f_[k]"],
    [{ kernel: true }, "f (/tmp/perf-1.map)", "f"],
    [{ jit: true }, "f (/tmp/perf-1.map)", "f_[j]"],
    [{ jit: true }, "f_[j] (/tmp/perf-1.map)", "f_[j]"],
    [{ jit: true }, "f (/tmp/jitted-1-2.so)", "f_[j]"],
    [{ jit: true }, "f ([vdso])", "f"],
    [{ all: true }, "f ([vdso])", "f_[k]"],
    [{ all: true }, "a->b (/tmp/perf-1.map)", "a_[j];b_[i]"],
    [{ addrs: true }, "[unknown] (/l/m.so)", "[m.so <7f>]"],
    [{ addrs: true }, "[unknown] ([unknown])", "[unknown <7f>]"],
    [{}, "f ([kernel.kallsyms])", "f"],
  ])("with %j folds %j", (options, frame, expected) => {
    expect(foldOne(`7f ${frame}`, options)).toBe(expected);
  });

  it("names the process as asked, blanks turned into underscores", () => {
    const [both, one] = ["my app 12/13 1.0: c:\n\n", "my app 13 1.0: c:\n\n"];
    expect(fold(both)).toEqual(["my_app 1"]);
    expect([fold(both, { pid: true }), fold(one, { pid: true })]).toEqual([["my_app-12 1"], ["my_app-? 1"]]);
    expect([fold(both, { tid: true }), fold(one, { tid: true })]).toEqual([["my_app-12/13 1"], ["my_app-?/13 1"]]);
  });

  it("drops the L of Java's class names for java processes only", () => {
    expect(foldOne("7f Lorg/a/B;::run (/tmp/perf-1.map)", {}, "java")).toBe("org/a/B:::run");
    expect(foldOne("7f LCounter;::run (/tmp/perf-1.map)", {}, "java")).toBe("LCounter:::run");
    expect(foldOne("7f Lorg/a/B;::run (/tmp/perf-1.map)", {}, "app")).toBe("Lorg/a/B:::run");
  });

  it("folds one event only, the first or the one asked for, and says how many samples it left out", () => {
    const text = "a1 1 1.0: 2 cycles:\n\n" + "a1 1 1.0: 9 instructions:\n\n".repeat(2) + "a1 1 1.0 tracepoint\n\n";
    const first = collapsePerfScript(text);
    expect([first.lines, first.event, first.filteredSamples]).toEqual([["a1 3"], "cycles", 2]);
    expect(fold(text, { eventFilter: "instructions" })).toEqual(["a1 19"]);
  });

  it("makes Rust names readable exactly where perf did so with others", () => {
    const mangled =
      "7f _$LT$gc..Gc$LT$T$GT$$u20$as$u20$Drop$GT$::drop::_$u7b$$u7b$closure$u7d$$u7d$::h0123456789abcdef (x)";
    const readable = "7f <A as B>::c (x)";
    const sample = (frame: string) => `app 1 1.0: c:\n\t${frame}\n\n`;
    expect(fold(sample(mangled))[0]).toContain("::h0123456789abcdef");
    expect(fold(sample(mangled) + sample(readable))).toEqual([
      "app;<A as B>::c 1",
      "app;<gc::Gc<T> as Drop>::drop::_{{closure}} 1",
    ]);
    const [one, other] = ["a::b::h0123456789abcdef", "a::b::hfedcba9876543210"].map((name) => sample(`7f ${name} (x)`));
    expect(fold(one + other + sample(readable))).toEqual(["app;<A as B>::c 1", "app;a::b 2"]);
  });

  it("adds beyond 2^53 exactly", () => {
    const text = "app 1 1.0: 18446744073709551615 c:\n\n" + "app 1 1.0: 1 c:\n\n".repeat(2);
    expect(fold(text)).toEqual(["app 18446744073709551617"]);
    expect(fold("app 1 1.0: 9007199254740991 c:\n\n".repeat(2))).toEqual(["app 18014398509481982"]);
  });

  it("folds parsed samples, one by one or at once, as it folds the text", () => {
    const text = "a1 1 1.0: 2 c:\n\t7f f (x)\n\n".repeat(3) + "b1 2 1.0: 5 c:\n\t7f g (x)\n\n";
    const { samples } = parsePerfScript(text);
    const collapser = new StackCollapser();
    for (const sample of samples) expect(collapser.add(sample)).toBe(true);
    expect(collapser.lines()).toEqual(fold(text));
    expect(collapse(samples)).toEqual(fold(text));
  });
});
