import { PAGE_BYTES } from "./board.ts";

/** A shared buffer of the scenario and its place in one flat address space. */
export interface Region {
  readonly buffer: SharedArrayBuffer;
  /** Where it was found in what `setup` returned: `locks.memory`. */
  readonly name: string;
  readonly base: number;
}

/** A typed array over a region. */
export interface Tracked {
  readonly raw: RawView;
  /** Address of element 0. */
  readonly at: number;
  /** Bytes of an element. */
  readonly size: number;
}

/** Any typed array, seen as numbers. */
export type RawView = Int32Array;

/** The tested memory: every `SharedArrayBuffer` that `setup` returned, in the same order in every thread. */
export class Memory {
  readonly regions: readonly Region[];
  readonly bytes: number;
  /** Regions that `setup` returned a view of: they can be written without a view being made. */
  readonly exposed: readonly Region[];
  readonly #byBuffer = new Map<ArrayBufferLike, Region>();

  constructor(shared: unknown) {
    const regions: Region[] = [];
    let base = PAGE_BYTES;
    const exposed = new Set<Region>();
    collect(shared, "shared", new Set(), (buffer, name, byView) => {
      const known = this.#byBuffer.get(buffer);
      if (known !== undefined) {
        if (byView) exposed.add(known);
        return;
      }
      const region = { buffer, name, base };
      regions.push(region);
      if (byView) exposed.add(region);
      this.#byBuffer.set(buffer, region);
      base += Math.ceil(buffer.byteLength / PAGE_BYTES) * PAGE_BYTES;
    });
    this.regions = regions;
    this.bytes = base;
    this.exposed = [...exposed];
  }

  get pages(): number {
    return this.bytes / PAGE_BYTES;
  }

  region(buffer: ArrayBufferLike): Region | undefined {
    return this.#byBuffer.get(buffer);
  }

  /** `name[index]` of an address, for people. */
  describe(at: number, size: number): string {
    const region = this.regions.findLast((each) => each.base <= at);
    if (region === undefined) return `${at}`;
    const offset = at - region.base;
    return size === 4 ? `${region.name}[${offset / 4}]` : `${region.name}+${offset}:${size}`;
  }
}

function collect(
  value: unknown,
  name: string,
  seen: Set<unknown>,
  found: (buffer: SharedArrayBuffer, name: string, byView: boolean) => void,
): void {
  if (typeof value !== "object" || value === null || seen.has(value)) return;
  seen.add(value);
  if (value instanceof SharedArrayBuffer) {
    found(value, name, false);
  } else if (ArrayBuffer.isView(value)) {
    if (value.buffer instanceof SharedArrayBuffer) found(value.buffer, name, true);
  } else if (value instanceof Map || value instanceof Set) {
    let index = 0;
    for (const each of value.values()) collect(each, `${name}.${index++}`, seen, found);
  } else {
    const prefix = name === "shared" ? "" : `${name}.`;
    for (const [key, each] of Object.entries(value)) collect(each, `${prefix}${key}`, seen, found);
  }
}

/** Bytes of every region at one moment, and how to go back there. */
export class Snapshot {
  readonly #copies: { readonly region: Region; readonly live: Uint8Array; readonly copy: Uint8Array }[];
  readonly #dirty: Uint8Array;

  constructor(memory: Memory, dirty: Uint8Array) {
    this.#copies = memory.regions.map((region) => {
      const live = new Uint8Array(region.buffer);
      return { region, live, copy: live.slice() };
    });
    this.#dirty = dirty;
  }

  /** Undo every write since the snapshot. */
  restore(): void {
    this.#forEachDirtyPage((live, copy, start, end) => live.set(copy.subarray(start, end), start));
    this.#dirty.fill(0);
  }

  /** FNV-1a over the pages that were written; pages that were not are the same in every execution. */
  hash(): number {
    let hash = 0x811c9dc5;
    this.#forEachDirtyPage((live, copy, start, end) => {
      for (let at = start; at < end; at++) {
        if (live[at] !== copy[at]) hash = Math.imul(Math.imul(hash ^ live[at], 0x01000193) ^ at, 0x01000193);
      }
    });
    return hash >>> 0;
  }

  #forEachDirtyPage(visit: (live: Uint8Array, copy: Uint8Array, start: number, end: number) => void): void {
    for (const { region, live, copy } of this.#copies) {
      const first = region.base / PAGE_BYTES;
      for (let start = 0; start < live.length; start += PAGE_BYTES) {
        if (this.#dirty[first + start / PAGE_BYTES] === 0) continue;
        visit(live, copy, start, Math.min(start + PAGE_BYTES, live.length));
      }
    }
  }
}
