import type { CpuId } from "@x/smp";
import { paddedWords } from "./layout.ts";

/*
 * Fixed-size slots in chunks; a chunk belongs to the CPU that claimed it, so that each CPU fills its own run of slots and
 * `maxSamples` still bounds the sum:
 *
 *   control:  [ records claimed | chunks claimed ]                                      any CPU, Atomics
 *   cursors:  [ current chunk + 1 ]                one padded block per CPU             its CPU alone
 *   chunks:   [ slots filled ]                     one word per chunk                   its CPU stores, readers load, Atomics
 *   slots:    [ time, weight (doubles) | cpu | task | depth and flags | - | symbol 0 … ]    its CPU, plain, before «slots filled»
 *
 * ceil(capacity / CHUNK) + CPUs chunks always suffice: every CPU leaves at most its last chunk unfinished.
 */
const CHUNK_SLOTS = 16;
const CLAIMED = 0;
const CHUNKS_CLAIMED = 1;
const CONTROL_WORDS = paddedWords(2);
const CURSOR_STRIDE = paddedWords(1);

const SLOT_WEIGHT = 1;
const SLOT_CPU = 4;
const SLOT_TASK = 5;
const SLOT_SHAPE = 6;
const SLOT_STACK = 8;

const KERNEL_FLAG = 1 << 30;
const TRUNCATED_FLAG = 1 << 29;
const DEPTH_MASK = 0xffff;

/**
 * One sample. `stack` holds symbol ids, the outermost function first.
 *
 * @public
 */
export interface ProfileSample {
  readonly timeNs: number;
  readonly cpu: CpuId;
  readonly taskId: number;
  readonly kernelMode: boolean;
  /** Sampling instants this sample stands for: more than 1 when one step of the clock passed several. */
  readonly weight: number;
  /** The stack was deeper than the profiler keeps; its outermost functions are missing. */
  readonly truncated: boolean;
  readonly stack: readonly number[];
}

/**
 * Shared memory of a profiler's samples.
 *
 * @public
 */
export interface SampleStoreHandle {
  readonly possibleCpus: number;
  readonly capacity: number;
  readonly maxDepth: number;
  readonly control: SharedArrayBuffer;
  readonly slots: SharedArrayBuffer;
}

/** Bounded storage of samples in shared memory: single writer per chunk, any reader. */
export class SampleStore {
  readonly handle: SampleStoreHandle;
  readonly #control: Int32Array;
  readonly #cursorsAt: number = CONTROL_WORDS;
  readonly #chunksAt: number;
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #stride: number;

  constructor(handle: SampleStoreHandle) {
    this.handle = handle;
    this.#control = new Int32Array(handle.control);
    this.#chunksAt = CONTROL_WORDS + handle.possibleCpus * CURSOR_STRIDE;
    this.#words = new Int32Array(handle.slots);
    this.#doubles = new Float64Array(handle.slots);
    this.#stride = slotWords(handle.maxDepth);
  }

  static allocate(possibleCpus: number, capacity: number, maxDepth: number): SampleStoreHandle {
    const chunks = Math.ceil(capacity / CHUNK_SLOTS) + possibleCpus;
    const controlWords = CONTROL_WORDS + possibleCpus * CURSOR_STRIDE + chunks;
    return {
      possibleCpus,
      capacity,
      maxDepth,
      control: new SharedArrayBuffer(controlWords * 4),
      slots: new SharedArrayBuffer(chunks * CHUNK_SLOTS * slotWords(maxDepth) * 4),
    };
  }

  /** Writes a sample as `writer`, the calling CPU; false when `limit` samples are kept already. */
  append(
    writer: CpuId,
    limit: number,
    timeNs: number,
    cpu: CpuId,
    taskId: number,
    kernelMode: boolean,
    weight: number,
    stack: Int32Array,
    depth: number,
  ): boolean {
    if (!this.#claim(limit)) return false;
    const chunk = this.#chunkOf(writer);
    const filled = this.#control[this.#chunksAt + chunk];
    const at = (chunk * CHUNK_SLOTS + filled) * this.#stride;
    const kept = depth < this.handle.maxDepth ? depth : this.handle.maxDepth;
    const words = this.#words;
    this.#doubles[at >> 1] = timeNs;
    this.#doubles[(at >> 1) + SLOT_WEIGHT] = weight;
    words[at + SLOT_CPU] = cpu;
    words[at + SLOT_TASK] = taskId;
    words[at + SLOT_SHAPE] = kept | (kernelMode ? KERNEL_FLAG : 0) | (kept < depth ? TRUNCATED_FLAG : 0);
    // The innermost functions are kept: a sample says first of all where the CPU was.
    for (let frame = 0, from = depth - kept; frame < kept; frame++)
      words[at + SLOT_STACK + frame] = stack[from + frame];
    Atomics.store(this.#control, this.#chunksAt + chunk, filled + 1);
    return true;
  }

  /** Samples kept. */
  get count(): number {
    return Math.min(Atomics.load(this.#control, CLAIMED), this.handle.capacity);
  }

  /** Slots of all complete samples, oldest first; equal times in the order of slots. */
  order(): number[] {
    const slots: number[] = [];
    const chunks = Atomics.load(this.#control, CHUNKS_CLAIMED);
    for (let chunk = 0; chunk < chunks; chunk++) {
      const filled = Atomics.load(this.#control, this.#chunksAt + chunk);
      for (let slot = 0; slot < filled; slot++) slots.push(chunk * CHUNK_SLOTS + slot);
    }
    return slots.sort(
      (a, b) => this.#doubles[(a * this.#stride) >> 1] - this.#doubles[(b * this.#stride) >> 1] || a - b,
    );
  }

  read(slot: number): ProfileSample {
    const at = slot * this.#stride;
    const shape = this.#words[at + SLOT_SHAPE];
    const from = at + SLOT_STACK;
    return {
      timeNs: this.#doubles[at >> 1],
      cpu: this.#words[at + SLOT_CPU],
      taskId: this.#words[at + SLOT_TASK],
      kernelMode: (shape & KERNEL_FLAG) !== 0,
      weight: this.#doubles[(at >> 1) + SLOT_WEIGHT],
      truncated: (shape & TRUNCATED_FLAG) !== 0,
      stack: Array.from(this.#words.subarray(from, from + (shape & DEPTH_MASK))),
    };
  }

  /** Forget all samples. Only while no CPU appends. */
  clear(): void {
    this.#control.fill(0);
  }

  #claim(limit: number): boolean {
    if (Atomics.add(this.#control, CLAIMED, 1) < limit) return true;
    Atomics.sub(this.#control, CLAIMED, 1);
    return false;
  }

  #chunkOf(writer: CpuId): number {
    const cursor = this.#cursorsAt + writer * CURSOR_STRIDE;
    const current = this.#control[cursor] - 1;
    if (current >= 0 && this.#control[this.#chunksAt + current] < CHUNK_SLOTS) return current;
    const chunk = Atomics.add(this.#control, CHUNKS_CLAIMED, 1);
    this.#control[cursor] = chunk + 1;
    return chunk;
  }
}

/** Even, so that the time of every slot is aligned. */
function slotWords(maxDepth: number): number {
  return (SLOT_STACK + maxDepth + 1) & ~1;
}
