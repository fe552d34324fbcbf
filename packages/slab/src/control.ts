import { PADDING_BYTES } from "@x/smp";

/*
 * Control memory of a cache, Int32 words; every part starts on its own padded line:
 *
 *   | shared words | node 0 | node 1 | … | CPU 0 | CPU 1 | … | magazine 0 | magazine 1 | … | map of slabs |
 *
 * shared words   Atomics only
 * node words     under lock `node` of the cache, but NODE.remote (a line of its own, compare-exchange) and NODE.broken
 *                (set before the lock of a dead CPU is freed, cleared under the lock)
 * CPU words      written by their CPU only, plain; by others only when that CPU has stopped
 * magazine       the rounds of a magazine that a CPU holds belong to that CPU; a magazine in a depot belongs to lock
 *                `node`. A magazine changes hands under the lock, which orders its rounds.
 * map of slabs   one bit per block of the page source that is a slab of this cache; Atomics
 */
export const LINE_WORDS: number = PADDING_BYTES / 4;

export const SHARED = { destroyed: 0, slabs: 1 } as const;

export const NODE = {
  partial: 0,
  full: 1,
  empty: 2,
  emptyCount: 3,
  slabs: 4,
  inUse: 5,
  peakInUse: 6,
  colour: 7,
  fullMagazines: 8,
  emptyMagazines: 9,
  /** Chain of objects taken from `remote` and not placed yet. */
  returned: 10,
  /** Slabs that wait for a grace period, oldest first. */
  deferred: 11,
  deferredTail: 12,
  deferredCount: 13,
  /** 1: the last holder of the lock died; whoever has the lock repairs the node first. */
  broken: 14,
  /** Head of the chain of objects freed by CPUs of other nodes; on a padded line of its own. */
  remote: 32,
} as const;
const NODE_WORDS = 2 * LINE_WORDS;

/**
 * `loaded` names the magazine in use; the other one is `pair ^ loaded`. So each exchange of magazines takes effect by a
 * single store, and a thread may die between any two of them. `dead` is 1 while the objects of a dead CPU are collected.
 */
export const CPU = { loaded: 0, pair: 1, dead: 2 } as const;

/**
 * Counters of a CPU: doubles behind its words, in this order. Fast frees are not counted, which would cost them a tenth of their
 * time: they are the allocations less the objects that are out and the slow frees.
 */
export const COUNTER = {
  allocFast: 0,
  allocSlow: 1,
  freeSlow: 2,
  remoteFrees: 3,
  failures: 4,
  depotExchanges: 5,
} as const;
/** Doubles from the start of a CPU's block to its counters. */
export const COUNTERS_DOUBLE = 4;

/** A magazine is named by the word of its first round; its own words lie before. */
const MAGAZINE_HEADER_WORDS = 3;
export const MAGAZINE_LINK = -3;
/** CPU + 1, or -(node + 1) while in a depot. */
export const MAGAZINE_HOLDER = -2;
export const MAGAZINE_ROUNDS = -1;
/** Magazines a CPU holds: loaded and previous. */
const MAGAZINES_PER_CPU = 2;

/**
 * Where everything lies in the control memory of one cache; part of its handle.
 *
 * @public
 */
export interface ControlLayout {
  /** Memory nodes, each with a depot and slabs of its own. */
  readonly nodes: number;
  readonly cpus: number;
  /** Objects in a magazine. */
  readonly magazineSize: number;
  /** Full magazines the depot of a node may hold. */
  readonly depotMagazines: number;
  /** Blocks of the page source that could be slabs. */
  readonly blocks: number;
}

const upToLine = (words: number): number => Math.ceil(words / LINE_WORDS) * LINE_WORDS;
const cpusBase = (layout: ControlLayout): number => LINE_WORDS + NODE_WORDS * layout.nodes;
const magazinesBase = (layout: ControlLayout): number => cpusBase(layout) + LINE_WORDS * layout.cpus;
const magazineWords = (layout: ControlLayout): number => upToLine(MAGAZINE_HEADER_WORDS + layout.magazineSize);

/** Magazines of a cache, those of CPUs and those of depots. */
export const magazineCount = (layout: ControlLayout): number =>
  layout.cpus * MAGAZINES_PER_CPU + layout.nodes * layout.depotMagazines;
/** Name of magazine `index`. */
export const magazineAt = (layout: ControlLayout, index: number): number =>
  magazinesBase(layout) + index * magazineWords(layout) + MAGAZINE_HEADER_WORDS;
/** Word where the block of `node` starts. */
export const nodeWord = (node: number): number => LINE_WORDS + NODE_WORDS * node;
/** Word where the block of `cpu` starts. */
export const cpuWord = (layout: ControlLayout, cpu: number): number => cpusBase(layout) + LINE_WORDS * cpu;
/** Word where the map of slabs starts. */
export const mapWord = (layout: ControlLayout): number =>
  magazinesBase(layout) + magazineCount(layout) * magazineWords(layout);

/** Bytes of the control memory by purpose. */
export function controlBytes(layout: ControlLayout): { magazines: number; map: number; other: number } {
  const magazines = magazineCount(layout) * magazineWords(layout) * 4;
  return { magazines, map: Math.ceil(layout.blocks / 32) * 4, other: magazinesBase(layout) * 4 };
}

/** Make the control memory: every CPU holds empty magazines, every depot holds empty ones only. */
export function createControl(layout: ControlLayout): SharedArrayBuffer {
  const { magazines, map, other } = controlBytes(layout);
  const memory = new SharedArrayBuffer(Math.ceil((magazines + map + other) / 8) * 8);
  const words = new Int32Array(memory);
  for (let cpu = 0; cpu < layout.cpus; cpu++) {
    const [first, second] = [0, 1].map((i) => magazineAt(layout, cpu * MAGAZINES_PER_CPU + i));
    words[first + MAGAZINE_HOLDER] = words[second + MAGAZINE_HOLDER] = cpu + 1;
    words[cpuWord(layout, cpu) + CPU.loaded] = first;
    words[cpuWord(layout, cpu) + CPU.pair] = first ^ second;
  }
  for (let i = 0; i < layout.nodes * layout.depotMagazines; i++) {
    const node = Math.floor(i / layout.depotMagazines);
    const magazine = magazineAt(layout, layout.cpus * MAGAZINES_PER_CPU + i);
    words[magazine + MAGAZINE_HOLDER] = -(node + 1);
    words[magazine + MAGAZINE_LINK] = words[nodeWord(node) + NODE.emptyMagazines];
    words[nodeWord(node) + NODE.emptyMagazines] = magazine;
  }
  return memory;
}
