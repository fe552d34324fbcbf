import { integerAt, reject, textAt, type Unchecked } from "./checked.ts";
import type { ThreadCompiler } from "./compile-thread.ts";
import type { Operand, Update } from "./instructions.ts";

/** The domain of plain RCU: no location has this address. */
const RCU: Operand = () => 0;
const NOTHING: Operand = () => 0;

/**
 * Fences that wait. The others order what both models order anyway; those behind taking a lock are for what comes before it, which
 * is in memory once the lock is taken.
 */
const FENCES: Readonly<Record<string, "all" | "srcu" | undefined>> = {
  smp_mb: "all",
  smp_rmb: undefined,
  smp_wmb: undefined,
  smp_mb__after_spinlock: undefined,
  smp_mb__after_unlock_lock: undefined,
  smp_mb__after_srcu_read_unlock: "srcu",
};
const ORDERS: Readonly<Record<string, readonly string[]>> = {
  load: ["once", "plain", "acquire", "deref"],
  store: ["once", "plain", "release"],
  update: ["full", "acquire", "release", "relaxed"],
};

type Compile = (thread: ThreadCompiler, call: Unchecked, path: string) => Operand;

const CALLS: Readonly<Record<string, Compile>> = {
  load: (thread, call, path) => {
    order(call, "load", path);
    const to = thread.scratch();
    thread.emit({ kind: "load", to, at: location(thread, call, path) });
    return (registers) => registers[to];
  },
  store: (thread, call, path) => {
    order(call, "store", path);
    const value = operand(thread, call, "value", path);
    thread.emit({ kind: "store", at: location(thread, call, path), value });
    return NOTHING;
  },
  xchg: (thread, call, path) => {
    const value = operand(thread, call, "value", path);
    return update(thread, call, path, { store: (_, registers) => value(registers), result: (old) => old });
  },
  cmpxchg: (thread, call, path) => {
    const expect = operand(thread, call, "expect", path);
    const value = operand(thread, call, "value", path);
    return update(thread, call, path, {
      store: (old, registers) => (old === expect(registers) ? value(registers) : undefined),
      result: (old) => old,
    });
  },
  addUnless: (thread, call, path) => {
    const add = operand(thread, call, "add", path);
    const unless = operand(thread, call, "unless", path);
    return update(thread, call, path, {
      store: (old, registers) => (old === unless(registers) ? undefined : old + add(registers)),
      result: (old, registers) => Number(old !== unless(registers)),
    });
  },
  fence: (thread, call, path) => {
    const kind = textAt(call["kind"], `${path}/kind`);
    if (!Object.hasOwn(FENCES, kind)) reject(`${path}/kind`, `must be one of ${Object.keys(FENCES).join(", ")}`);
    const scope = FENCES[kind];
    if (scope !== undefined) thread.emit({ kind: "fence", scope });
    return NOTHING;
  },
  lock: (thread, call, path) => {
    thread.emit({ kind: "lock", at: location(thread, call, path) });
    return NOTHING;
  },
  unlock: (thread, call, path) => {
    thread.emit({ kind: "store", at: location(thread, call, path), value: NOTHING });
    return NOTHING;
  },
  trylock: (thread, call, path) => {
    const taken: Update = { store: (old) => (old === 0 ? 1 : undefined), result: (old) => Number(old === 0) };
    return update(thread, { ...call, order: "acquire" }, path, taken);
  },
  isLocked: (thread, call, path) => {
    const to = thread.scratch();
    thread.emit({ kind: "load", to, at: location(thread, call, path) });
    return (registers) => Number(registers[to] !== 0);
  },
  rcu_read_lock: (thread) => {
    thread.emit({ kind: "readLock", domain: RCU, to: thread.scratch() });
    return NOTHING;
  },
  rcu_read_unlock: (thread) => {
    thread.emit({ kind: "readUnlock", domain: RCU, index: undefined });
    return NOTHING;
  },
  synchronize_rcu: (thread) => {
    thread.emit({ kind: "synchronize", domain: RCU });
    return NOTHING;
  },
  srcu_read_lock: (thread, call, path) => {
    const to = thread.scratch();
    thread.emit({ kind: "readLock", domain: location(thread, call, path), to });
    return (registers) => registers[to];
  },
  srcu_read_unlock: (thread, call, path) => {
    const index = operand(thread, call, "idx", path);
    thread.emit({ kind: "readUnlock", domain: location(thread, call, path), index });
    return NOTHING;
  },
  synchronize_srcu: (thread, call, path) => {
    thread.emit({ kind: "synchronize", domain: location(thread, call, path) });
    return NOTHING;
  },
};

/** Emit a call; what it gives. */
export function compileCall(thread: ThreadCompiler, call: Unchecked, path: string): Operand {
  const name = textAt(call["call"], `${path}/call`);
  if (!Object.hasOwn(CALLS, name)) reject(`${path}/call`, `must be one of ${Object.keys(CALLS).join(", ")}`);
  return CALLS[name](thread, call, path);
}

function location(thread: ThreadCompiler, call: Unchecked, path: string): Operand {
  return thread.address(call["loc"], `${path}/loc`);
}

/** A member that is an expression, or simply a number. */
function operand(thread: ThreadCompiler, call: Unchecked, member: string, path: string): Operand {
  const given = call[member];
  const at = `${path}/${member}`;
  if (typeof given !== "number") return thread.expression(given, at);
  const constant = integerAt(given, at);
  return () => constant;
}

/** Both models order more than any of these asks for; a wrong one is told. */
function order(call: Unchecked, kind: "load" | "store" | "update", path: string): void {
  const given = textAt(call["order"], `${path}/order`);
  if (!ORDERS[kind].includes(given)) reject(`${path}/order`, `must be one of ${ORDERS[kind].join(", ")}`);
}

function update(thread: ThreadCompiler, call: Unchecked, path: string, how: Update): Operand {
  order(call, "update", path);
  const to = thread.scratch();
  thread.emit({ kind: "update", to, at: location(thread, call, path), update: how });
  return (registers) => registers[to];
}
