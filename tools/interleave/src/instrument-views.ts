import type { RawView, Tracked } from "./memory.ts";
import { Flag, Operation } from "./operation.ts";
import type { Recorder } from "./recorder.ts";
import { remember, trackedView, unwrap } from "./tracked.ts";

const VIEW_NAMES = [
  "Int8Array",
  "Uint8Array",
  "Uint8ClampedArray",
  "Int16Array",
  "Uint16Array",
  "Int32Array",
  "Uint32Array",
  "Float32Array",
  "Float64Array",
  "BigInt64Array",
  "BigUint64Array",
] as const;

/** Methods of typed arrays that write; all others only read, if anything. */
const WRITERS = new Set(["fill", "set", "copyWithin", "reverse", "sort"]);

/** The views of `globalThis` (typed arrays and DataView), instrumented: those over tested memory become proxies. */
export function instrumentViews(recorder: Recorder): Record<string, unknown> {
  const replaced: Record<string, unknown> = {};
  for (const name of VIEW_NAMES) {
    const real = globalThis[name] as unknown as Int32ArrayConstructor;
    replaced[name] = new Proxy(real, {
      construct(target, args: unknown[], newTarget) {
        const source = recorder.active ? trackedView(args[0], recorder.memory) : undefined;
        if (source !== undefined) bulk(recorder, Operation.Read, source.at, source.raw.byteLength, "copy");
        return proxyOf(recorder, Reflect.construct(target, args.map(unwrap), newTarget as () => void) as RawView);
      },
    });
  }
  replaced["DataView"] = new Proxy(DataView, {
    construct(target, args: [ArrayBufferLike], newTarget) {
      const raw = Reflect.construct(target, args, newTarget as () => void) as DataView;
      recorder.viewed(raw.buffer);
      const region = recorder.active ? recorder.memory.region(raw.buffer) : undefined;
      return region === undefined ? raw : proxyOfDataView(recorder, raw, region.base + raw.byteOffset);
    },
  });
  return replaced;
}

/** A proxy of `raw` if it looks at tested memory during an execution, else `raw`. */
export function proxyOf(recorder: Recorder, raw: RawView): RawView {
  if (!recorder.active) {
    recorder.viewed(raw.buffer);
    return raw;
  }
  const tracked = trackedView(raw, recorder.memory);
  if (tracked === undefined) return raw;
  const proxy = new Proxy(raw, new ViewHandler(recorder, tracked));
  remember(proxy, tracked);
  return proxy;
}

/** Reads and writes of elements are recorded; methods see the real array and are recorded as one access of all of it. */
class ViewHandler implements ProxyHandler<RawView> {
  readonly #recorder: Recorder;
  readonly #tracked: Tracked;

  constructor(recorder: Recorder, tracked: Tracked) {
    this.#recorder = recorder;
    this.#tracked = tracked;
  }

  get(target: RawView, key: string | symbol): unknown {
    if (typeof key === "string" && isIndex(key)) return this.#read(target, Number(key));
    if (key === "constructor" || typeof key === "symbol") return symbolMember(target, key);
    const member = Reflect.get(target, key, target) as unknown;
    return typeof member === "function" ? methodOf(this.#recorder, key, member as Method) : member;
  }

  set(target: RawView, key: string | symbol, value: unknown): boolean {
    if (typeof key !== "string" || !isIndex(key)) return Reflect.set(target, key, value, target);
    const index = Number(key);
    const tracked = this.#tracked;
    const recorder = this.#recorder;
    if (!recorder.active || index >= target.length) return Reflect.set(target, key, value, target);
    const at = tracked.at + index * tracked.size;
    const flags = recorder.enterPlain(Operation.Write, at, tracked.size);
    const before = target[index];
    target[index] = value as number;
    const changed = Object.is(before, target[index]) ? 0 : Flag.Changed;
    const detail = recorder.tracing
      ? `${recorder.memory.describe(at, tracked.size)} = ${String(value)} was ${before}`
      : undefined;
    recorder.leavePlain(Operation.Write, at, tracked.size, flags < 0 ? flags : flags | changed, detail);
    return true;
  }

  #read(target: RawView, index: number): number {
    const tracked = this.#tracked;
    const recorder = this.#recorder;
    if (!recorder.active || index >= target.length) return target[index];
    const at = tracked.at + index * tracked.size;
    const flags = recorder.enterPlain(Operation.Read, at, tracked.size);
    const value = target[index];
    const detail = recorder.tracing ? `read ${recorder.memory.describe(at, tracked.size)} → ${value}` : undefined;
    recorder.leavePlain(Operation.Read, at, tracked.size, flags, detail);
    return value;
  }
}

type Method = (this: unknown, ...args: unknown[]) => unknown;

/** Every proxied array uses the same wrapped methods. */
const methods = new Map<string, Method>();

function methodOf(recorder: Recorder, name: string, real: Method): Method {
  let method = methods.get(name);
  if (method === undefined) {
    method = function (this: unknown, ...args: unknown[]): unknown {
      return callMethod(recorder, name, real, this, args);
    };
    methods.set(name, method);
  }
  return method;
}

function callMethod(recorder: Recorder, name: string, real: Method, self: unknown, args: unknown[]): unknown {
  const tracked = recorder.active ? trackedView(self, recorder.memory) : undefined;
  if (tracked === undefined) return real.apply(unwrap(self), args.map(unwrap));
  const { raw } = tracked;
  if (name === "subarray") return proxyOf(recorder, real.apply(raw, args) as RawView);
  if (name === "values" || name === "entries" || name === "keys") return elementIterator(raw, self as RawView, name);
  const source = name === "set" ? trackedView(args[0], recorder.memory) : undefined;
  if (source !== undefined) bulk(recorder, Operation.Read, source.at, source.raw.byteLength, "set from");
  if (name !== "set" && name !== "fill") {
    const [from, to] = readExtent(name, args, raw.length);
    bulk(recorder, Operation.Read, tracked.at + from * tracked.size, (to - from) * tracked.size, name);
  }
  if (!WRITERS.has(name)) return real.apply(raw, args);
  const [from, to] = writeExtent(name, args, raw.length);
  const at = tracked.at + from * tracked.size;
  const bytes = (to - from) * tracked.size;
  const flags = bytes === 0 ? -1 : recorder.enterPlain(Operation.Write, at, bytes);
  const result = real.apply(raw, args.map(unwrap));
  const detail = recorder.tracing
    ? `${name} ${recorder.memory.describe(at, tracked.size)} … ${bytes} bytes`
    : undefined;
  recorder.leavePlain(Operation.Write, at, bytes, flags < 0 ? flags : flags | Flag.Changed, detail);
  return result === raw ? self : result;
}

/** An index as the methods of typed arrays take it: from the end if negative. */
function clampIndex(value: unknown, otherwise: number, length: number): number {
  const index = value === undefined ? otherwise : Math.trunc(Number(value));
  return Math.min(Math.max(index < 0 ? index + length : index, 0), length);
}

/** Elements from `args[first]` to before `args[first + 1]`. */
function argumentExtent(args: unknown[], first: number, length: number): [number, number] {
  const from = clampIndex(args[first], 0, length);
  return [from, Math.max(clampIndex(args[first + 1], length, length), from)];
}

/** Elements that a method reads. */
function readExtent(name: string, args: unknown[], length: number): [number, number] {
  if (name === "slice") return argumentExtent(args, 0, length);
  if (name === "copyWithin") return argumentExtent(args, 1, length);
  if (name !== "at") return [0, length];
  const index = clampIndex(args[0], 0, length);
  return [index, Math.min(index + 1, length)];
}

/** Elements that a method writes. */
function writeExtent(name: string, args: unknown[], length: number): [number, number] {
  if (name === "fill") return argumentExtent(args, 1, length);
  if (name === "set") {
    const start = Number(args[1] ?? 0);
    return [start, Math.min(start + (args[0] as ArrayLike<number>).length, length)];
  }
  if (name !== "copyWithin") return [0, length];
  const [from, to] = argumentExtent(args, 1, length);
  const target = clampIndex(args[0], 0, length);
  return [target, Math.min(target + to - from, length)];
}

function bulk(recorder: Recorder, operation: number, at: number, bytes: number, what: string): void {
  if (bytes === 0) return;
  const flags = recorder.enterPlain(operation, at, bytes);
  const detail = recorder.tracing ? `${what} ${recorder.memory.describe(at, 4)} … ${bytes} bytes` : undefined;
  recorder.leavePlain(operation, at, bytes, flags, detail);
}

/** Iterates through the proxy, so that every element is a read of its own. */
function elementIterator(raw: RawView, proxy: RawView, name: string): unknown {
  const indices = Array.from({ length: raw.length }, (_, index) => index);
  if (name === "keys") return indices.values();
  return (function* () {
    for (const index of indices) yield name === "entries" ? [index, proxy[index]] : proxy[index];
  })();
}

function symbolMember(target: RawView, key: string | symbol): unknown {
  if (key !== Symbol.iterator) return Reflect.get(target, key, target) as unknown;
  return function (this: RawView): unknown {
    return elementIterator(target, this, "values");
  };
}

function isIndex(key: string): boolean {
  const first = key.charCodeAt(0);
  return first >= 48 && first <= 57;
}

function proxyOfDataView(recorder: Recorder, raw: DataView, base: number): DataView {
  return new Proxy(raw, {
    get(target, key) {
      const member = Reflect.get(target, key, target) as unknown;
      if (typeof member !== "function" || typeof key !== "string") return member;
      const kind = /^(get|set)\D+(\d+)$/.exec(key);
      if (kind === null) return member;
      const write = kind[1] === "set";
      const bytes = Number(kind[2]) / 8;
      return (offset: number, ...rest: unknown[]): unknown => {
        if (!recorder.active) return (member as Method).call(target, offset, ...rest);
        const operation = write ? Operation.Write : Operation.Read;
        const flags = recorder.enterPlain(operation, base + offset, bytes);
        const result = (member as Method).call(target, offset, ...rest);
        const detail = recorder.tracing
          ? `${key}(${recorder.memory.describe(base + offset, bytes)}) ${String(write ? rest[0] : result)}`
          : undefined;
        recorder.leavePlain(
          operation,
          base + offset,
          bytes,
          flags < 0 || !write ? flags : flags | Flag.Changed,
          detail,
        );
        return result;
      };
    },
  });
}
