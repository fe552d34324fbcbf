import { describe, expect, it } from "vitest";
import { SpinBudget } from "../../src/ipi/spin-budget.ts";
import { soloHal } from "../../src/index.ts";

const LONG_NS = 1e9;
const SHORT_NS = 1000;

describe("SpinBudget", () => {
  it("looks longer after short sleeps, and half as long after each long one", () => {
    const spins = new SpinBudget(soloHal());
    expect(spins.turns).toBe(0);
    for (let sleep = 0; sleep < 3; sleep++) spins.slept(SHORT_NS);
    const most = spins.turns;
    expect(most).toBeGreaterThan(256);
    spins.slept(LONG_NS);
    expect(spins.turns).toBe(most >> 1);
  });

  it("looks twice as long as it took to find the last time, within limits, whatever sleeps come between", () => {
    const spins = new SpinBudget(soloHal());
    for (let pause = 0; pause < 100; pause++) {
      spins.slept(LONG_NS);
      spins.found(50);
      expect(spins.turns).toBeGreaterThanOrEqual(100);
    }
    const most = spins.turns;
    spins.found(2);
    expect(spins.turns).toBe(most);
    spins.found(1e6);
    expect(spins.turns).toBe(512);
  });

  it("gives up for a while where looking is in vain though sleeps are short", () => {
    const spins = new SpinBudget(soloHal());
    let sleeps = 0;
    do spins.slept(SHORT_NS);
    while (spins.turns > 0 && ++sleeps < 100);
    expect(sleeps).toBeLessThan(100);
    for (let sleep = 0; sleep < 64; sleep++) {
      spins.slept(SHORT_NS);
      expect(spins.turns).toBe(0);
    }
    spins.slept(SHORT_NS);
    expect(spins.turns).toBeGreaterThan(0);
  });
});
