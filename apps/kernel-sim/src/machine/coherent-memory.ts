import { CACHE_LINE_BYTES } from "@x/smp";
import type { CostTable } from "./cost-table.ts";

/*
 * A directory of cache lines and one cache per CPU, enough to make sharing, capacity and distance cost what they cost.
 *
 *   directory, 1 + w words a line   owner     cpu ≥ 0: that CPU has the only copy, modified or exclusive
 *                                             -1: clean in memory (and in the caches of the sharers)
 *                                             -2 - node: also in the last-level cache of `node` (a device wrote it there)
 *                                   sharers   one bit per CPU that has a copy
 *   tags, one word a set and CPU    line × 2 + 1 if the CPU owns it, or -1: a direct-mapped cache
 *
 * Invariants: a CPU's tag holds a line exactly if its sharer bit is set there; it is odd exactly if the CPU owns the line; an
 * owned line has no other sharer. So a hit looks at the tag alone.
 *
 * Contended lines are served one after the other: `busy` remembers the last transfer of a line, and a request that falls
 * into it waits for its end. The emulator is one thread, so plain arrays do.
 */
const LINE_SHIFT = Math.log2(CACHE_LINE_BYTES);
const IN_MEMORY = -1;
const IN_LAST_LEVEL = -2;
const NO_LINE = -1;
const BUSY_SLOTS = 1 << 14;

export interface CoherentMemoryOptions {
  readonly cpus: number;
  /** Lines of memory there are. */
  readonly lines: number;
  readonly nodeOfCpu: Int32Array;
  /** Distances as in the SLIT, row by row; 10 is local. */
  readonly distances: Float64Array;
  readonly nodes: number;
  /** Cache of one CPU, a power of two. */
  readonly cacheLines: number;
  /** Local clock of each CPU, nanoseconds. */
  readonly clocks: Float64Array;
  readonly costs: CostTable;
}

/** Pages of 4 KiB share a home. A page that was given none belongs to the node whose CPU touches it first. */
const HOME_SHIFT = 12 - LINE_SHIFT;
const UNTOUCHED = 0xff;

/** Coherent memory of the machine: what a touch of a line costs, and what it does to everybody's caches. */
export class CoherentMemory {
  /** Accesses beyond the own cache that stayed on the CPU's node, and those that left it, by CPU. */
  readonly localAccesses: Float64Array;
  readonly remoteAccesses: Float64Array;
  /** Time spent waiting for lines in transfer, by CPU. */
  readonly contendedNs: Float64Array;

  readonly #cpus: number;
  readonly #lines: number;
  readonly #costs: CostTable;
  readonly #nodes: number;
  readonly #nodeOfCpu: Int32Array;
  readonly #homes: Uint8Array;
  readonly #directory: Int32Array;
  readonly #lineWords: number;
  readonly #tags: Int32Array;
  readonly #setMask: number;
  readonly #cacheLines: number;
  readonly #clocks: Float64Array;
  /** Costs by toucher's node and line's node: a transfer from another cache, and DRAM. */
  readonly #transferNs: Int32Array;
  readonly #dramNs: Int32Array;
  readonly #busyLine = new Int32Array(BUSY_SLOTS).fill(-1);
  readonly #busyStart = new Float64Array(BUSY_SLOTS);
  readonly #busyEnd = new Float64Array(BUSY_SLOTS);

  constructor(options: CoherentMemoryOptions) {
    const { cpus, lines, cacheLines } = options;
    this.#cpus = cpus;
    this.#lines = lines;
    this.#costs = options.costs;
    this.#nodes = options.nodes;
    this.#nodeOfCpu = options.nodeOfCpu;
    this.#homes = new Uint8Array((lines >> HOME_SHIFT) + 1).fill(UNTOUCHED);
    this.#lineWords = 1 + ((cpus + 31) >> 5);
    this.#directory = new Int32Array(lines * this.#lineWords);
    for (let at = 0; at < this.#directory.length; at += this.#lineWords) this.#directory[at] = IN_MEMORY;
    this.#tags = new Int32Array(cpus * cacheLines).fill(NO_LINE);
    this.#setMask = cacheLines - 1;
    this.#cacheLines = cacheLines;
    this.#clocks = options.clocks;
    this.#transferNs = byDistance(options.costs.cacheTransferNs, options.distances);
    this.#dramNs = byDistance(options.costs.dramNs, options.distances);
    this.localAccesses = new Float64Array(cpus);
    this.remoteAccesses = new Float64Array(cpus);
    this.contendedNs = new Float64Array(cpus);
  }

  /** Say that the bytes from `address` on belong to `node`. */
  setHome(address: number, bytes: number, node: number): void {
    const shift = LINE_SHIFT + HOME_SHIFT;
    this.#homes.fill(node, Math.floor(address / 2 ** shift), Math.ceil((address + bytes) / 2 ** shift));
  }

  /** `cpu` reads or writes the line at `address` at its present time; returns the nanoseconds it takes. */
  touch(cpu: number, address: number, write: boolean): number {
    const line = address >>> LINE_SHIFT;
    const tag = this.#tags[cpu * this.#cacheLines + (line & this.#setMask)];
    if (tag >> 1 === line && (!write || (tag & 1) === 1)) return this.#costs.cacheHitNs;
    return tag >> 1 === line ? this.#upgrade(cpu, line) : this.#fetch(cpu, line, write);
  }

  /** As {@link CoherentMemory.touch} for every line of a range. */
  touchRange(cpu: number, address: number, bytes: number, write: boolean): number {
    const end = address + bytes;
    let costNs = 0;
    for (let at = address & ~(CACHE_LINE_BYTES - 1); at < end; at += CACHE_LINE_BYTES)
      costNs += this.touch(cpu, at, write);
    return costNs;
  }

  /** A device on `node` writes a range: every cached copy goes, the lines are in that node's last-level cache. */
  deviceWrite(node: number, address: number, bytes: number): void {
    const last = (address + bytes - 1) >>> LINE_SHIFT;
    for (let line = address >>> LINE_SHIFT; line <= last; line++) {
      this.#invalidate(line);
      this.#directory[line * this.#lineWords] = IN_LAST_LEVEL - node;
    }
  }

  /** Lines the directory covers. */
  get lines(): number {
    return this.#lines;
  }

  /** Check the invariants. For tests: looks at every line and every tag. */
  verify(): void {
    for (let line = 0; line < this.#lines; line++) {
      const owner = this.#directory[line * this.#lineWords];
      for (let cpu = 0; cpu < this.#cpus; cpu++) {
        const tag = this.#tags[cpu * this.#cacheLines + (line & this.#setMask)];
        const cached = tag >> 1 === line;
        const wrong =
          cached !== this.#isSharer(line, cpu) ||
          (cached && (tag & 1) !== Number(owner === cpu)) ||
          (owner >= 0 && owner !== cpu && cached);
        if (wrong) throw new Error(`line ${line}: owner ${owner}, tag of CPU ${cpu} is ${tag}`);
      }
    }
  }

  #isSharer(line: number, cpu: number): boolean {
    return (this.#directory[line * this.#lineWords + 1 + (cpu >> 5)] & (1 << (cpu & 31))) !== 0;
  }

  /** A copy becomes the only one. */
  #upgrade(cpu: number, line: number): number {
    const costNs = this.#farthestSharer(cpu, line);
    this.#invalidate(line);
    this.#install(cpu, line, true);
    return costNs + this.#queue(cpu, line, costNs);
  }

  /** A line comes from where it is. */
  #fetch(cpu: number, line: number, write: boolean): number {
    const at = line * this.#lineWords;
    const owner = this.#directory[at];
    let costNs = this.#fetchCost(cpu, line, owner);
    if (owner >= 0) {
      costNs += this.#queue(cpu, line, costNs);
      this.#directory[at] = IN_MEMORY;
      const tag = owner * this.#cacheLines + (line & this.#setMask);
      this.#tags[tag] &= ~1;
    }
    if (write) this.#invalidate(line);
    // Who reads a line that nobody else has gets it exclusively (the E of MESI), and may write it without asking.
    this.#install(cpu, line, write || this.#isUnshared(at));
    return costNs;
  }

  #isUnshared(at: number): boolean {
    for (let word = 1; word < this.#lineWords; word++) if (this.#directory[at + word] !== 0) return false;
    return true;
  }

  #farthestSharer(cpu: number, line: number): number {
    const row = this.#nodeOfCpu[cpu] * this.#nodes;
    let costNs = this.#costs.cacheHitNs;
    for (let word = 0; word < this.#lineWords - 1; word++) {
      let bits = this.#directory[line * this.#lineWords + 1 + word];
      for (; bits !== 0; bits &= bits - 1) {
        const other = (word << 5) + (31 - Math.clz32(bits & -bits));
        if (other !== cpu) costNs = Math.max(costNs, this.#transferNs[row + this.#nodeOfCpu[other]]);
      }
    }
    return costNs;
  }

  #fetchCost(cpu: number, line: number, owner: number): number {
    const node = this.#nodeOfCpu[cpu];
    const from =
      owner >= 0 ? this.#nodeOfCpu[owner] : owner <= IN_LAST_LEVEL ? IN_LAST_LEVEL - owner : this.#home(line, node);
    if (from === node) this.localAccesses[cpu]++;
    else this.remoteAccesses[cpu]++;
    if (owner >= 0) return this.#transferNs[node * this.#nodes + from];
    return owner <= IN_LAST_LEVEL && from === node
      ? this.#costs.lastLevelHitNs
      : this.#dramNs[node * this.#nodes + from];
  }

  #home(line: number, toucher: number): number {
    const page = line >> HOME_SHIFT;
    if (this.#homes[page] === UNTOUCHED) this.#homes[page] = toucher;
    return this.#homes[page];
  }

  /** Put `line` into the CPU's set; what was there leaves, back to memory if it was modified. */
  #install(cpu: number, line: number, own: boolean): void {
    const set = cpu * this.#cacheLines + (line & this.#setMask);
    const old = this.#tags[set] >> 1;
    if (old >= 0 && old !== line) {
      if ((this.#tags[set] & 1) === 1) this.#directory[old * this.#lineWords] = IN_MEMORY;
      this.#directory[old * this.#lineWords + 1 + (cpu >> 5)] &= ~(1 << (cpu & 31));
    }
    this.#tags[set] = line * 2 + (own ? 1 : 0);
    this.#directory[line * this.#lineWords + 1 + (cpu >> 5)] |= 1 << (cpu & 31);
    if (own) this.#directory[line * this.#lineWords] = cpu;
  }

  /** No CPU has a copy any more. */
  #invalidate(line: number): void {
    const first = line * this.#lineWords + 1;
    for (let word = 0; word < this.#lineWords - 1; word++) {
      for (let bits = this.#directory[first + word]; bits !== 0; bits &= bits - 1) {
        const cpu = (word << 5) + (31 - Math.clz32(bits & -bits));
        this.#tags[cpu * this.#cacheLines + (line & this.#setMask)] = NO_LINE;
      }
      this.#directory[first + word] = 0;
    }
  }

  /** Wait for a transfer of the same line that is under way, and be the transfer the next one waits for. */
  #queue(cpu: number, line: number, costNs: number): number {
    const timeNs = this.#clocks[cpu];
    const slot = line & (BUSY_SLOTS - 1);
    let waitNs = 0;
    if (this.#busyLine[slot] === line && timeNs >= this.#busyStart[slot] && timeNs < this.#busyEnd[slot]) {
      waitNs = Math.ceil(this.#busyEnd[slot] - timeNs);
      this.contendedNs[cpu] += waitNs;
    }
    this.#busyLine[slot] = line;
    this.#busyStart[slot] = timeNs + waitNs;
    this.#busyEnd[slot] = timeNs + waitNs + costNs;
    return waitNs;
  }
}

/** A cost at distance 10, scaled to every distance of the matrix. */
function byDistance(costNs: number, distances: Float64Array): Int32Array {
  return Int32Array.from(distances, (distance) => Math.round((costNs * distance) / 10));
}
