/*
 * Lets a thread «die» at any write to shared memory: typed arrays made while this is installed are proxies that count
 * writes, and so do the functions of `Atomics`. When the fuel is used up every further write throws, so that neither
 * `finally` nor anything else of the dead thread changes memory.
 */
export class Death extends Error {}

const real = { Int32Array, Float64Array, Atomics: { ...functionsOf(Atomics) } };
const targets = new WeakMap<object, object>();
let fuel = Infinity;

function functionsOf(atomics: Atomics): Record<string, (...args: unknown[]) => unknown> {
  const names = ["add", "sub", "and", "or", "xor", "store", "load", "exchange", "compareExchange", "notify", "wait"];
  return Object.fromEntries(names.map((name) => [name, (atomics as never)[name]]));
}

function burn(): void {
  if (fuel-- <= 0) throw new Death("the thread is dead");
}

function proxied<T extends Int32Array | Float64Array>(array: T): T {
  const proxy = new Proxy(array, {
    get: (target, key) => {
      const value = Reflect.get(target, key, target) as unknown;
      return typeof value === "function" ? value.bind(target) : value;
    },
    set: (target, key, value) => {
      burn();
      return Reflect.set(target, key, value, target);
    },
  });
  targets.set(proxy, array);
  return proxy;
}

/** Run `body` with memory that can die. */
export function withDyingMemory<T>(body: () => T): T {
  const wrap = (Real: typeof Int32Array | typeof Float64Array): unknown =>
    new Proxy(Real, {
      construct: (Target, args) => proxied(Reflect.construct(Target, args) as Int32Array),
      get: (Target, key) => (key === "from" ? Target.from.bind(Target) : (Reflect.get(Target, key) as unknown)),
    });
  Object.assign(globalThis, { Int32Array: wrap(Int32Array), Float64Array: wrap(Float64Array) });
  for (const [name, run] of Object.entries(real.Atomics)) {
    Object.assign(Atomics, {
      [name]: (array: object, ...args: unknown[]) => {
        if (name !== "load") burn();
        return run.call(Atomics, targets.get(array) ?? array, ...args);
      },
    });
  }
  try {
    return body();
  } finally {
    fuel = Infinity;
    Object.assign(globalThis, { Int32Array: real.Int32Array, Float64Array: real.Float64Array });
    Object.assign(Atomics, real.Atomics);
  }
}

/** Run `action`, which dies at its write number `steps`. Returns whether it did. */
export function dieAfter(steps: number, action: () => void): boolean {
  fuel = steps;
  try {
    action();
    return false;
  } catch (error) {
    if (error instanceof Death) return true;
    throw error;
  } finally {
    fuel = Infinity;
  }
}
