import { type AsyncWaits, instrumentAtomics, virtualNow } from "./instrument-atomics.ts";
import { instrumentViews, proxyOf } from "./instrument-views.ts";
import type { RawView } from "./memory.ts";
import type { Recorder } from "./recorder.ts";

/**
 * Replace the globals through which shared memory (and time) is reached. Before the code under test is loaded. There is no WebAssembly:
 * its accesses cannot be seen, and code that is tested falls back on what it does by Atomics where an engine has none.
 */
export function installInstrumentation(recorder: Recorder, asyncWaits: AsyncWaits): void {
  const views = instrumentViews(recorder);
  const atomics = instrumentAtomics(Atomics, recorder, asyncWaits);
  for (const [name, value] of Object.entries({ ...views, Atomics: atomics, WebAssembly: undefined })) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  }
  const performanceNow = performance.now.bind(performance);
  const dateNow = Date.now;
  performance.now = () => (recorder.active ? virtualNow(recorder) / 1e6 : performanceNow());
  Date.now = () => (recorder.active ? Math.floor(virtualNow(recorder) / 1e6) : dateNow());
}

/** A copy of what `setup` returned whose views of tested memory are instrumented. Call while `recorder` is active. */
export function instrumentShared(recorder: Recorder, value: unknown, seen: Map<unknown, unknown> = new Map()): unknown {
  if (typeof value !== "object" || value === null || value instanceof SharedArrayBuffer) return value;
  const known = seen.get(value);
  if (known !== undefined) return known;
  if (ArrayBuffer.isView(value)) {
    if (!(value.buffer instanceof SharedArrayBuffer)) return value;
    if (value instanceof DataView) return new DataView(value.buffer, value.byteOffset, value.byteLength);
    return proxyOf(recorder, value as RawView);
  }
  if (Object.getPrototypeOf(value) !== Object.prototype && !Array.isArray(value)) return value;
  const copy: Record<string, unknown> = Array.isArray(value) ? ([] as unknown as Record<string, unknown>) : {};
  seen.set(value, copy);
  for (const [key, each] of Object.entries(value)) copy[key] = instrumentShared(recorder, each, seen);
  return copy;
}
