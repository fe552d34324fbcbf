import { describe, expect, test } from "vitest";
import { explore, type FailureKind, InterleavingFailure, search } from "../src/index.ts";

const fixture = (name: string): URL => new URL(`./fixtures/${name}`, import.meta.url);

interface Planted {
  readonly title: string;
  readonly module: string;
  readonly fault: string;
  readonly kind: FailureKind;
  readonly message: RegExp;
}

const planted: Planted[] = [
  {
    title: "a lock without atomic test-and-set",
    module: "spin-lock.mjs",
    fault: "testThenSet",
    kind: "data-race",
    message: /data race on counter\[0\]/,
  },
  {
    title: "ABA in a Treiber stack",
    module: "treiber-stack.mjs",
    fault: "aba",
    kind: "check",
    message: /on the stack and owned by a thread/,
  },
  {
    title: "a ticket lock released twice",
    module: "ticket-lock.mjs",
    fault: "releasedTwice",
    kind: "assertion",
    message: /two threads are inside/,
  },
  {
    title: "a notification that comes before the wait",
    module: "notify.mjs",
    fault: "missedNotify",
    kind: "lost-wakeup",
    message: /B waits on memory\[1\]/,
  },
  {
    title: "a forgotten notification",
    module: "notify.mjs",
    fault: "forgottenNotify",
    kind: "lost-wakeup",
    message: /B waits on memory\[1\]/,
  },
  {
    title: "a notification that comes before waitAsync",
    module: "notify.mjs",
    fault: "missedNotifyAsync",
    kind: "lost-wakeup",
    message: /B waits on memory\[1\]/,
  },
  {
    title: "a deadly embrace of sleepers",
    module: "notify.mjs",
    fault: "embrace",
    kind: "deadlock",
    message: /A waits on memory\[0\]; B waits on memory\[1\]/,
  },
  {
    title: "spin locks taken in opposite order",
    module: "notify.mjs",
    fault: "spinningEmbrace",
    kind: "deadlock",
    message: /A spins; B spins/,
  },
  {
    title: "an RCU reader that uses a plain nesting count",
    module: "rcu-reader.mjs",
    fault: "plainNesting",
    kind: "data-race",
    message: /plain write by A .* load by B/,
  },
  {
    title: "an RCU updater that does not wait for readers",
    module: "rcu-reader.mjs",
    fault: "noGracePeriod",
    kind: "use-after-free",
    message: /freed memory at memory\[2\]/,
  },
  {
    title: "a seqlock reader that forgets the second check",
    module: "seqlock.mjs",
    fault: "noSecondCheck",
    kind: "assertion",
    message: /torn read/,
  },
  {
    title: "a bounded ring that overwrites",
    module: "ring.mjs",
    fault: "overwriting",
    kind: "assertion",
    message: /item 1 is 3/,
  },
];

describe("planted faults are caught", () => {
  for (const { title, module, fault, kind, message } of planted) {
    test(`${title}, and its schedule alone shows it again`, async () => {
      const { failure } = await search(fixture(module), { scenario: fault });
      expect(failure?.kind).toBe(kind);
      expect(failure?.message).toMatch(message);
      expect(failure?.text).toContain(`--schedule ${failure?.schedule}`);
      expect(failure?.trace.some((line) => line.where.includes(`fixtures/${module}:`))).toBe(true);
      const strategy = { kind: "replay", schedule: failure!.schedule } as const;
      const replayed = await search(fixture(module), { scenario: fault, strategy });
      expect(replayed.failure?.kind).toBe(kind);
      expect(replayed.failure?.trace).toEqual(failure?.trace);
    });
  }

  test("threads that step aside for each other for ever are a livelock", async () => {
    const { failure } = await search(fixture("notify.mjs"), { scenario: "livelock", stepLimit: 60 });
    expect(failure?.kind).toBe("livelock");
    expect(failure?.replay).toContain("--step-limit 60");
  });

  test("a lost wake-up that a time-out heals shows when time-outs never come", async () => {
    const { failure } = await search(fixture("notify.mjs"), { scenario: "timedWait", timeouts: "never" });
    expect(failure?.kind).toBe("lost-wakeup");
    expect(failure?.replay).toContain("--no-timeouts");
  });

  test("a lock that parks without saying so, after spinning, shows when spinning threads need not wait", async () => {
    const unsuspecting = await explore(fixture("parking-lock.mjs"), { scenario: "parksSilently" });
    expect(unsuspecting.yields).toBeGreaterThan(0);
    const options = { scenario: "parksSilently", relax: "returns" } as const;
    const { failure } = await search(fixture("parking-lock.mjs"), options);
    expect(failure?.kind).toBe("lost-wakeup");
    expect(failure?.replay).toContain("--relax-returns");
    const twin = await explore(fixture("parking-lock.mjs"), { scenario: "parks", relax: "returns" });
    expect(twin.exhausted).toBe(true);
    expect(twin.executions).toBeGreaterThan(10);
    expect(twin.yields).toBe(0);
  });

  test("explore throws what search returns", async () => {
    const running = explore(fixture("seqlock.mjs"), { scenario: "noSecondCheck" });
    await expect(running).rejects.toThrow(InterleavingFailure);
    await expect(running).rejects.toThrow(/torn read[^]*--schedule B3A[^]*load\(memory\[1\]\) → 0/);
  });
});

describe("correct twins pass exhaustively", () => {
  const twins: [module: string, scenario: string, finalStates: number][] = [
    ["spin-lock.mjs", "testAndSet", 1],
    ["spin-lock.mjs", "shipped", 1],
    ["treiber-stack.mjs", "tagged", 4],
    ["ticket-lock.mjs", "releasedOnce", 1],
    ["notify.mjs", "countedNotify", 1],
    ["notify.mjs", "countedNotifyAsync", 1],
    ["notify.mjs", "timedWait", 1],
    ["rcu-reader.mjs", "atomicNesting", 2],
    ["seqlock.mjs", "checkedTwice", 1],
    ["ring.mjs", "bounded", 1],
  ];
  for (const [module, scenario, finalStates] of twins) {
    test(`${module} ${scenario}`, async () => {
      const report = await explore(fixture(module), { scenario });
      expect(report.exhausted).toBe(true);
      expect(report.executions).toBeGreaterThan(1);
      expect(report.finalStates).toBe(finalStates);
    });
  }
});
