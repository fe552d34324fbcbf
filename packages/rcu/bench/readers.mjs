// Reads of a record behind a shared index, protected in different ways, as the inner loop of a program. One thread may replace the
// record after each batch. Import with a query of your own, `./readers.mjs?mine`: the engine then compiles these loops for you alone.
import { RcuPointer } from "@x/rcu";
import { RwLock } from "./rw-lock.mjs";

/** Reads between two quiescent states. */
const GROUP = 64;
const GROUPS = 16;
/** Reads of one call, and reads for one update. */
export const BATCH = GROUP * GROUPS;
/** Words of a record. */
export const WORDS = 8;
const POINTER = 0;
const LOCK = 32;
const RECORDS = 64;
const RECORD_WORDS = 32;
const RECORD_COUNT = 64;

const memoryBytes = (RECORDS + RECORD_COUNT * RECORD_WORDS) * 4;

export function newMemory() {
  const words = new Int32Array(new SharedArrayBuffer(memoryBytes));
  words[POINTER] = RECORDS;
  return words;
}

/** How many `width` words from `at` on come to. */
function sumOf(words, at, width) {
  let sum = 0;
  for (let i = 0; i < width; i++) sum += words[at + i];
  return sum;
}

/** No protection, and no order: what was written behind the index need not be seen. The loops are those of {@link qsbr}. */
function racy(words, { width }) {
  return () => {
    let sum = 0;
    for (let group = 0; group < GROUPS; group++) {
      for (let i = 0; i < GROUP; i++) {
        const at = words[POINTER];
        sum += sumOf(words, at, width);
      }
    }
    return sum;
  };
}

/** The same between quiescent states, so that only the reads of {@link qsbr} differ. */
function racyBetween(words, { rcu, width, write = nothing }) {
  return () => {
    let sum = 0;
    for (let group = 0; group < GROUPS; group++) {
      for (let i = 0; i < GROUP; i++) {
        const at = words[POINTER];
        sum += sumOf(words, at, width);
      }
      rcu.quiescent();
    }
    write();
    return sum;
  };
}

/** No protection, but what is published is seen whole. */
function unprotected(words, { width }) {
  return () => {
    let sum = 0;
    for (let group = 0; group < GROUPS; group++) {
      for (let i = 0; i < GROUP; i++) sum += sumOf(words, Atomics.load(words, POINTER), width);
    }
    return sum;
  };
}

/** Quiescent states between groups of reads, which is all that QSBR asks of readers. */
function qsbr(words, { rcu, width, write = nothing }) {
  const pointer = new RcuPointer(words, POINTER, rcu);
  return () => {
    let sum = 0;
    for (let group = 0; group < GROUPS; group++) {
      for (let i = 0; i < GROUP; i++) {
        const at = pointer.load();
        sum += sumOf(words, at, width);
      }
      rcu.quiescent();
    }
    write();
    return sum;
  };
}

/** The same with sections marked, so that misuse is found; with flavour `memory-barrier` the marks are the protection. */
function sections(words, { rcu, width, write = nothing }) {
  const pointer = new RcuPointer(words, POINTER, rcu);
  return () => {
    let sum = 0;
    for (let group = 0; group < GROUPS; group++) {
      for (let i = 0; i < GROUP; i++) {
        rcu.readLock();
        sum += sumOf(words, pointer.load(), width);
        rcu.readUnlock();
      }
      rcu.quiescent();
    }
    write();
    return sum;
  };
}

function locked(words, { width, write = nothing }) {
  const lock = new RwLock(words, LOCK);
  return () => {
    let sum = 0;
    for (let i = 0; i < BATCH; i++) {
      lock.lockShared();
      sum += sumOf(words, words[POINTER], width);
      lock.unlockShared();
    }
    write();
    return sum;
  };
}

function nothing() {}

/** Each makes, from memory and options, a function that reads {@link BATCH} times. */
export const ways = { racy, racyBetween, unprotected, qsbr, sections, locked };

/** One update: another record, filled and published; the one before is used again after a grace period. */
export function replacing(words, rcu) {
  const pointer = new RcuPointer(words, POINTER, rcu);
  const free = Array.from({ length: RECORD_COUNT - 1 }, (_, i) => RECORDS + (i + 1) * RECORD_WORDS);
  const release = (record) => void free.push(record);
  let value = 0;
  return () => {
    while (free.length === 0) rcu.quiescent();
    const record = free.pop();
    words.fill(++value, record, record + WORDS);
    rcu.call(release, pointer.exchange(record));
  };
}

/** One update in place, behind the lock. */
export function lockedReplacing(words) {
  const lock = new RwLock(words, LOCK);
  let value = 0;
  return () => {
    lock.lock();
    const record = words[POINTER];
    words.fill(++value, record, record + WORDS);
    lock.unlock();
  };
}
