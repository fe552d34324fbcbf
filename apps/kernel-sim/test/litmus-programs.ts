/** Short forms of litmus programs, for tests. */

export const store = (loc: string, value: number): object => ({
  do: { call: "store", loc, value: { const: value }, order: "once" },
});
export const load = (to: string, loc: string): object => ({ set: to, to: { call: "load", loc, order: "once" } });
export const call = (name: string, more: object = {}): object => ({ do: { call: name, ...more } });
export const mb: object = call("fence", { kind: "smp_mb" });
export const exchange = (to: string, loc: string, value: number): object => ({
  set: to,
  to: { call: "xchg", loc, value: { const: value }, order: "full" },
});

/** A program of bodies, whose question is `condition`. */
export function program(condition: string, ...bodies: (readonly object[])[]): object {
  return { name: "test", threads: bodies.map((body) => ({ params: [], body })), quantifier: "exists", condition };
}

/** A program that only prints registers and locations. */
export function observing(locations: readonly string[], ...bodies: (readonly object[])[]): object {
  return { ...program("true", ...bodies), locations };
}
