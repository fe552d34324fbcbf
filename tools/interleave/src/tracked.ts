import type { Memory, RawView, Tracked } from "./memory.ts";

/** What is behind a proxy, and what is known about plain views of the tested memory. */
const views = new WeakMap<object, Tracked>();

/** Remember that `proxy` stands for `tracked`. */
export function remember(proxy: object, tracked: Tracked): void {
  views.set(proxy, tracked);
}

/** The tested memory behind `view`, or undefined if it is other memory. */
export function trackedView(view: unknown, memory: Memory): Tracked | undefined {
  if (typeof view !== "object" || view === null) return undefined;
  const known = views.get(view);
  if (known !== undefined || !ArrayBuffer.isView(view)) return known;
  const raw = view as RawView;
  const region = memory.region(raw.buffer);
  if (region === undefined) return undefined;
  const tracked = { raw, at: region.base + raw.byteOffset, size: raw.BYTES_PER_ELEMENT };
  views.set(view, tracked);
  return tracked;
}

/** The real view behind a proxy; anything else is returned as it is. */
export function unwrap<T>(view: T): T {
  if (typeof view !== "object" || view === null) return view;
  return (views.get(view)?.raw as T | undefined) ?? view;
}
