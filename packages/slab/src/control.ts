import { PADDING_BYTES } from "@x/smp";

/*
 * Control memory of a cache, Int32 words; every part starts on its own padded line:
 *
 *   | shared words | node 0 | node 1 | … | CPU 0 | CPU 1 | … | magazine 0 | magazine 1 | … |
 *
 * shared words   Atomics only
 * node words     under lock `node` of the cache
 * CPU words      written by their CPU only, plain; `flushCpu` writes them when that CPU has stopped
 * magazine       the rounds of a magazine that a CPU holds belong to that CPU; the link word and the rounds of a magazine
 *                in a depot belong to lock `node`. A magazine changes hands under the lock, which orders its rounds.
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
  fullMagazineCount: 9,
  emptyMagazines: 10,
} as const;

/** A magazine and its number of rounds lie side by side. */
export const CPU = { loaded: 0, loadedRounds: 1, previous: 2, previousRounds: 3, remote: 4, remoteRounds: 5 } as const;

/** Counters of a CPU: doubles behind its words, in this order. */
export const COUNTER = {
  allocFast: 0,
  allocSlow: 1,
  freeFast: 2,
  freeSlow: 3,
  remoteFrees: 4,
  failures: 5,
  depotExchanges: 6,
} as const;
/** Doubles from the start of a CPU's block to its counters. */
export const COUNTERS_DOUBLE = 4;

/** A magazine: a link, a spare word, then the rounds. */
export const MAGAZINE_LINK = 0;
export const MAGAZINE_ROUNDS = 2;
/** Magazines a CPU holds: loaded, previous, and one for objects that go home to another node. */
const MAGAZINES_PER_CPU = 3;

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
}

const upToLine = (words: number): number => Math.ceil(words / LINE_WORDS) * LINE_WORDS;
const cpusBase = (layout: ControlLayout): number => LINE_WORDS * (1 + layout.nodes);
const magazinesBase = (layout: ControlLayout): number => cpusBase(layout) + LINE_WORDS * layout.cpus;
const magazineWords = (layout: ControlLayout): number => upToLine(MAGAZINE_ROUNDS + layout.magazineSize);
const magazineAt = (layout: ControlLayout, index: number): number =>
  magazinesBase(layout) + index * magazineWords(layout);

/** Word where the block of `node` starts. */
export const nodeWord = (node: number): number => LINE_WORDS * (1 + node);
/** Word where the block of `cpu` starts. */
export const cpuWord = (layout: ControlLayout, cpu: number): number => cpusBase(layout) + LINE_WORDS * cpu;

/** Make the control memory: every CPU holds empty magazines, every depot holds empty ones only. */
export function createControl(layout: ControlLayout): SharedArrayBuffer {
  const inCpus = layout.cpus * MAGAZINES_PER_CPU;
  const total = inCpus + layout.nodes * layout.depotMagazines;
  const memory = new SharedArrayBuffer((magazinesBase(layout) + total * magazineWords(layout)) * 4);
  const words = new Int32Array(memory);
  for (let cpu = 0; cpu < layout.cpus; cpu++) {
    const at = cpuWord(layout, cpu);
    words[at + CPU.loaded] = magazineAt(layout, cpu * MAGAZINES_PER_CPU) + MAGAZINE_ROUNDS;
    words[at + CPU.previous] = magazineAt(layout, cpu * MAGAZINES_PER_CPU + 1) + MAGAZINE_ROUNDS;
    words[at + CPU.remote] = magazineAt(layout, cpu * MAGAZINES_PER_CPU + 2) + MAGAZINE_ROUNDS;
  }
  for (let node = 0; node < layout.nodes; node++) {
    const head = nodeWord(node) + NODE.emptyMagazines;
    for (let i = 0; i < layout.depotMagazines; i++) {
      const rounds = magazineAt(layout, inCpus + node * layout.depotMagazines + i) + MAGAZINE_ROUNDS;
      words[rounds - MAGAZINE_ROUNDS + MAGAZINE_LINK] = words[head];
      words[head] = rounds;
    }
  }
  return memory;
}
