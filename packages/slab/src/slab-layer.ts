import { MAGAZINE_ROUNDS, mapWord, NODE, nodeWord } from "./control.ts";
import { SlabError } from "./errors.ts";
import type { SlabGeometry } from "./geometry.ts";
import { HEADER_BYTES } from "./geometry.ts";
import type { KmemCacheHandle } from "./options.ts";
import { hashText } from "./sites.ts";

/*
 * Words of a slab's header. MAGIC, HOME_WORD and FIRST are written before the slab's first object is given out and then only
 * read, until the slab goes back; the others and the bitmap are under the lock of the slab's home node.
 */
const MAGIC = 0;
const NEXT = 1;
const PREVIOUS = 2;
const IN_USE = 3;
/** Node, and the cache's tag above it. */
export const HOME_WORD = 4;
const FIRST = 5;
/** No bitmap word before this one has a free object. Of a deferred slab: the cookie of its grace period. */
const HINT = 6;
/** 0 on a list; DEFERRED; CPU + 1: that CPU is taking it from, or to, the page source. */
const TRANSIT = 7;
const BITMAP = HEADER_BYTES / 4;

const DEFERRED = -1;
export const TAG_SHIFT = 16;
const NODE_MASK = (1 << TAG_SHIFT) - 1;

/** Empty slabs a node keeps, so that one object going back and forth does not make and return a slab each time. */
const KEPT_EMPTY_SLABS = 1;

/**
 * The slabs of one cache: lists per node (partial, full, empty, deferred) of blocks with a bitmap of the objects in use.
 *
 * Every method that takes a node, and `give`, is called with the lock of the node held. A thread may die between any
 * two stores: the map of slabs, the bitmaps, MAGIC and TRANSIT are the truth, from which `rebuild` makes everything else.
 */
export class SlabLayer {
  readonly #words: Int32Array;
  readonly #control: Int32Array;
  readonly #geometry: SlabGeometry;
  readonly #magic: number;
  readonly #mask: number;
  readonly #bitmapWords: number;
  readonly #keepEmpty: number;
  readonly #home: number;
  readonly #map: number;
  readonly #blocks: number;

  constructor(words: Int32Array, control: Int32Array, handle: KmemCacheHandle) {
    this.#words = words;
    this.#control = control;
    this.#geometry = handle.geometry;
    this.#magic = hashText(handle.name);
    this.#mask = ~(handle.geometry.slabBytes - 1);
    this.#bitmapWords = Math.ceil(handle.geometry.objectsPerSlab / 32);
    this.#keepEmpty = handle.typeStable ? (handle.deferred ? 0 : Infinity) : KEPT_EMPTY_SLABS;
    this.#home = handle.tag << TAG_SHIFT;
    this.#map = mapWord(handle.layout);
    this.#blocks = handle.layout.blocks;
  }

  /** Node whose lists the slab of `object` is on. Throws `SLAB_FOREIGN_OBJECT`. */
  homeOf(object: number): number {
    const at = (object & this.#mask) >> 2;
    if (object <= 0 || this.#words[at + MAGIC] !== (this.#magic ^ at)) this.#foreign(object);
    return this.#words[at + HOME_WORD] & NODE_MASK;
  }

  /** Throws `SLAB_FOREIGN_OBJECT` unless an object of this cache starts at this offset. */
  assertObject(object: number): void {
    if (object <= 0 || !this.#mapped(object)) this.#foreign(object);
    this.homeOf(object);
    this.#indexOf(object);
  }

  /** Word that links `object` into a chain while it is free. */
  linkOf(object: number): number {
    if (!this.#geometry.links) return object >> 2;
    return ((object & this.#mask) >> 2) + BITMAP + this.#bitmapWords + this.#indexOf(object);
  }

  /** Node of a slab that is off the lists. */
  homeOfTransit(slab: number): number {
    return this.#words[(slab >> 2) + HOME_WORD] & NODE_MASK;
  }

  /** Prepare the header of a fresh block that `cpu` took from the page source; no lock. */
  format(slab: number, home: number, cpu: number): void {
    const at = slab >> 2;
    const words = this.#words;
    const { objectsPerSlab, firstBytes, colourBytes, colours } = this.#geometry;
    const colour = (Atomics.add(this.#control, nodeWord(home) + NODE.colour, 1) >>> 0) % colours;
    words[at + MAGIC] = 0;
    words[at + TRANSIT] = cpu + 1;
    words[at + IN_USE] = 0;
    words[at + HOME_WORD] = this.#home | home;
    words[at + FIRST] = firstBytes + colour * colourBytes;
    words[at + HINT] = 0;
    for (let i = 0; i < this.#bitmapWords; i++) words[at + BITMAP + i] = 0;
    // The bits past the last object are set for ever, so that the search never finds them.
    if (objectsPerSlab % 32 !== 0) words[at + BITMAP + this.#bitmapWords - 1] = -1 << (objectsPerSlab % 32);
    const block = slab / this.#geometry.slabBytes;
    Atomics.or(this.#control, this.#map + (block >> 5), 1 << (block & 31));
  }

  /** Forget a slab that is off the lists, before it goes back to the page source; no lock. */
  unmap(slab: number): void {
    const block = slab / this.#geometry.slabBytes;
    Atomics.and(this.#control, this.#map + (block >> 5), ~(1 << (block & 31)));
  }

  /** Call `visit` with every object of a slab, in use or free. */
  forEachObject(slab: number, visit: (object: number) => void): void {
    const first = slab + this.#words[(slab >> 2) + FIRST];
    for (let i = 0; i < this.#geometry.objectsPerSlab; i++) visit(first + i * this.#geometry.strideBytes);
  }

  /** Put a formatted slab on the lists of `node`. */
  adopt(slab: number, node: number): void {
    const at = slab >> 2;
    this.#words[at + MAGIC] = this.#magic ^ at;
    this.#words[at + TRANSIT] = 0;
    this.#control[nodeWord(node) + NODE.slabs]++;
    this.#control[nodeWord(node) + NODE.emptyCount]++;
    this.#link(slab, node, NODE.empty);
  }

  /** Take up to `count` objects of `node` into magazine `magazine`; returns how many there were. */
  take(node: number, magazine: number, count: number): number {
    const base = nodeWord(node);
    const control = this.#control;
    let taken = 0;
    while (taken < count) {
      const slab = control[base + NODE.partial] || control[base + NODE.empty] || this.#undefer(node);
      if (slab === 0) break;
      taken += this.#takeFrom(slab, node, magazine, count - taken);
    }
    if (control[base + NODE.inUse] > control[base + NODE.peakInUse]) {
      control[base + NODE.peakInUse] = control[base + NODE.inUse];
    }
    return taken;
  }

  /** Take an object back. Returns its slab when that is empty now and one too many, for {@link SlabLayer.remove}; else 0. */
  give(object: number): number {
    const slab = object & this.#mask;
    const at = slab >> 2;
    const words = this.#words;
    const index = this.#indexOf(object);
    const word = index >> 5;
    const bit = 1 << (index & 31);
    if ((words[at + BITMAP + word] & bit) === 0) {
      throw new SlabError("SLAB_DOUBLE_FREE", `the object at ${object} is free already`);
    }
    words[at + BITMAP + word] &= ~bit;
    if (word < words[at + HINT]) words[at + HINT] = word;
    const before = words[at + IN_USE]--;
    const node = words[at + HOME_WORD] & NODE_MASK;
    this.#control[nodeWord(node) + NODE.inUse]--;
    return this.#relist(slab, node, before);
  }

  /** Take one empty slab of `node` off the lists, to be returned to the page source by `cpu`; 0 = none. */
  removeEmpty(node: number, cpu: number): number {
    const slab = this.#control[nodeWord(node) + NODE.empty];
    if (slab !== 0) this.remove(slab, node, cpu);
    return slab;
  }

  /** Make `slab`, just removed, wait for the grace period of `cookie`. It is mapped and may serve again before. */
  defer(slab: number, node: number, cookie: number): void {
    const at = slab >> 2;
    const base = nodeWord(node);
    this.#words[at + HINT] = cookie;
    this.#words[at + NEXT] = 0;
    const tail = this.#control[base + NODE.deferredTail];
    if (tail === 0) this.#control[base + NODE.deferred] = slab;
    else this.#words[(tail >> 2) + NEXT] = slab;
    this.#control[base + NODE.deferredTail] = slab;
    this.#control[base + NODE.deferredCount]++;
    this.#control[base + NODE.slabs]++;
    this.#words[at + MAGIC] = this.#magic ^ at;
    this.#words[at + TRANSIT] = DEFERRED;
  }

  /** Cookie of the oldest deferred slab of `node`; undefined when none waits. */
  oldestCookie(node: number): number | undefined {
    const slab = this.#control[nodeWord(node) + NODE.deferred];
    return slab === 0 ? undefined : this.#words[(slab >> 2) + HINT];
  }

  /** Take the oldest deferred slab off the lists, to be returned to the page source by `cpu`; 0 = none. */
  removeDeferred(node: number, cpu: number): number {
    const slab = this.#popDeferred(node);
    if (slab === 0) return 0;
    this.#words[(slab >> 2) + TRANSIT] = cpu + 1;
    this.#words[(slab >> 2) + MAGIC] = 0;
    this.#control[nodeWord(node) + NODE.slabs]--;
    return slab;
  }

  /** Call `visit` with every object of `node` that is out of its slab. */
  forEachInUse(node: number, visit: (object: number) => void): void {
    for (const list of [NODE.partial, NODE.full]) {
      for (let slab = this.#control[nodeWord(node) + list]; slab !== 0; slab = this.#words[(slab >> 2) + NEXT]) {
        this.forEachObject(slab, (object) => {
          if (this.#isInUse(object)) visit(object);
        });
      }
    }
  }

  /** Call `visit` with every free object that lies in a slab of `node`. */
  forEachFree(node: number, visit: (object: number) => void): void {
    for (const list of [NODE.partial, NODE.empty]) {
      for (let slab = this.#control[nodeWord(node) + list]; slab !== 0; slab = this.#words[(slab >> 2) + NEXT]) {
        this.forEachObject(slab, (object) => {
          if (!this.#isInUse(object)) visit(object);
        });
      }
    }
  }

  /** Mark `object` as in use, although a CPU died while it took it or gave it back. */
  claim(object: number): void {
    const index = this.#indexOf(object);
    this.#words[((object & this.#mask) >> 2) + BITMAP + (index >> 5)] |= 1 << (index & 31);
  }

  /** Make the lists and counts of `node` anew from the map of slabs and their bitmaps. */
  rebuild(node: number): void {
    const base = nodeWord(node);
    const control = this.#control;
    for (const word of [NODE.partial, NODE.full, NODE.empty, NODE.emptyCount, NODE.slabs, NODE.inUse]) {
      control[base + word] = 0;
    }
    control[base + NODE.deferred] = control[base + NODE.deferredTail] = control[base + NODE.deferredCount] = 0;
    this.#forEachMapped((slab) => {
      const at = slab >> 2;
      if (this.#words[at + MAGIC] === (this.#magic ^ at) && (this.#words[at + HOME_WORD] & NODE_MASK) === node) {
        this.#relink(slab, node);
      }
    });
  }

  /** Call `visit` with every block that `cpu` was taking from the page source, or to it. */
  forEachInTransit(cpu: number, visit: (slab: number) => void): void {
    this.#forEachMapped((slab) => {
      if (this.#words[(slab >> 2) + MAGIC] === 0 && this.#words[(slab >> 2) + TRANSIT] === cpu + 1) visit(slab);
    });
  }

  #relink(slab: number, node: number): void {
    const at = slab >> 2;
    const base = nodeWord(node);
    let inUse = this.#geometry.objectsPerSlab - this.#bitmapWords * 32; // without the bits past the last object
    for (let i = 0; i < this.#bitmapWords; i++) inUse += popcount(this.#words[at + BITMAP + i]);
    if (inUse === 0 && this.#words[at + TRANSIT] === DEFERRED) return this.defer(slab, node, this.#words[at + HINT]);
    this.#words[at + IN_USE] = inUse;
    this.#words[at + HINT] = this.#words[at + TRANSIT] = 0;
    this.#control[base + NODE.slabs]++;
    this.#control[base + NODE.inUse] += inUse;
    if (inUse === 0) this.#control[base + NODE.emptyCount]++;
    const full = inUse === this.#geometry.objectsPerSlab;
    this.#link(slab, node, inUse === 0 ? NODE.empty : full ? NODE.full : NODE.partial);
  }

  #forEachMapped(visit: (slab: number) => void): void {
    for (let first = 0; first < this.#blocks; first += 32) {
      let bits = Atomics.load(this.#control, this.#map + (first >> 5));
      for (; bits !== 0; bits &= bits - 1) {
        visit((first + 31 - Math.clz32(bits & -bits)) * this.#geometry.slabBytes);
      }
    }
  }

  #mapped(offset: number): boolean {
    const block = Math.floor(offset / this.#geometry.slabBytes);
    return block < this.#blocks && (Atomics.load(this.#control, this.#map + (block >> 5)) & (1 << (block & 31))) !== 0;
  }

  #isInUse(object: number): boolean {
    const index = this.#indexOf(object);
    return (this.#words[((object & this.#mask) >> 2) + BITMAP + (index >> 5)] & (1 << (index & 31))) !== 0;
  }

  #indexOf(object: number): number {
    const slab = object & this.#mask;
    const index = (object - slab - this.#words[(slab >> 2) + FIRST]) / this.#geometry.strideBytes;
    if (!Number.isInteger(index) || index < 0 || index >= this.#geometry.objectsPerSlab) this.#foreign(object);
    return index;
  }

  /** An object is put into the magazine before its bit is set, so that it is never in neither. */
  #takeFrom(slab: number, node: number, magazine: number, count: number): number {
    const words = this.#words;
    const control = this.#control;
    const header = slab >> 2;
    const first = slab + words[header + FIRST];
    const before = words[header + IN_USE];
    let taken = 0;
    let word = words[header + HINT];
    for (; word < this.#bitmapWords; word++) {
      let free = ~words[header + BITMAP + word];
      while (free !== 0 && taken < count) {
        const bit = 31 - Math.clz32(free & -free);
        free &= free - 1;
        control[magazine + control[magazine + MAGAZINE_ROUNDS]] =
          first + ((word << 5) + bit) * this.#geometry.strideBytes;
        control[magazine + MAGAZINE_ROUNDS]++;
        taken++;
      }
      words[header + BITMAP + word] = ~free;
      if (free !== 0 || taken === count) break;
    }
    words[header + HINT] = Math.min(word, this.#bitmapWords - 1);
    words[header + IN_USE] = before + taken;
    control[nodeWord(node) + NODE.inUse] += taken;
    this.#unlink(slab, node, before === 0 ? NODE.empty : NODE.partial);
    if (before === 0) control[nodeWord(node) + NODE.emptyCount]--;
    this.#link(slab, node, before + taken === this.#geometry.objectsPerSlab ? NODE.full : NODE.partial);
    return taken;
  }

  #relist(slab: number, node: number, before: number): number {
    const wasFull = before === this.#geometry.objectsPerSlab;
    if (before > 1 && !wasFull) return 0;
    this.#unlink(slab, node, wasFull ? NODE.full : NODE.partial);
    if (before > 1) {
      this.#link(slab, node, NODE.partial);
      return 0;
    }
    this.#link(slab, node, NODE.empty);
    return ++this.#control[nodeWord(node) + NODE.emptyCount] <= this.#keepEmpty ? 0 : slab;
  }

  /** Take an empty slab off the lists, for `cpu` to return it to the page source. */
  remove(slab: number, node: number, cpu: number): void {
    this.#words[(slab >> 2) + TRANSIT] = cpu + 1;
    this.#words[(slab >> 2) + MAGIC] = 0;
    this.#unlink(slab, node, NODE.empty);
    this.#control[nodeWord(node) + NODE.emptyCount]--;
    this.#control[nodeWord(node) + NODE.slabs]--;
  }

  /** The oldest deferred slab serves again, as an empty one; returns it, 0 = none. */
  #undefer(node: number): number {
    const slab = this.#popDeferred(node);
    if (slab === 0) return 0;
    this.#words[(slab >> 2) + TRANSIT] = 0;
    this.#words[(slab >> 2) + HINT] = 0;
    this.#control[nodeWord(node) + NODE.emptyCount]++;
    this.#link(slab, node, NODE.empty);
    return slab;
  }

  #popDeferred(node: number): number {
    const base = nodeWord(node);
    const slab = this.#control[base + NODE.deferred];
    if (slab === 0) return 0;
    this.#control[base + NODE.deferred] = this.#words[(slab >> 2) + NEXT];
    if (this.#control[base + NODE.deferred] === 0) this.#control[base + NODE.deferredTail] = 0;
    this.#control[base + NODE.deferredCount]--;
    return slab;
  }

  #link(slab: number, node: number, list: number): void {
    const words = this.#words;
    const head = nodeWord(node) + list;
    const next = this.#control[head];
    words[(slab >> 2) + NEXT] = next;
    words[(slab >> 2) + PREVIOUS] = 0;
    if (next !== 0) words[(next >> 2) + PREVIOUS] = slab;
    this.#control[head] = slab;
  }

  #unlink(slab: number, node: number, list: number): void {
    const words = this.#words;
    const next = words[(slab >> 2) + NEXT];
    const previous = words[(slab >> 2) + PREVIOUS];
    if (previous === 0) this.#control[nodeWord(node) + list] = next;
    else words[(previous >> 2) + NEXT] = next;
    if (next !== 0) words[(next >> 2) + PREVIOUS] = previous;
  }

  #foreign(object: number): never {
    throw new SlabError("SLAB_FOREIGN_OBJECT", `no slab of this cache holds an object at ${object}`);
  }
}

function popcount(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
}
