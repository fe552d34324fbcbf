// Reads of a record of 8 words, or of 1, behind a shared index, protected in different ways. Used by the bench and by its second thread.
import { RwLock } from "./rw-lock.mjs";

/** Reads between two quiescent states, or checks of the clock: one batch. */
export const BATCH = 256;
export const POINTER = 0;
export const LOCK = 32;
export const RECORDS = 64;
/** Words of a record that are read: the fewer, the more the protection shows. */
const WORDS = 8;
const READS_PER_QUIESCENT_STATE = 64;

export const memoryBytes = (RECORDS + 2 * 32) * 4;

function readRecord(words) {
  const at = RECORDS + Atomics.load(words, POINTER) * 32;
  let sum = 0;
  for (let i = 0; i < WORDS; i++) sum += words[at + i];
  return sum;
}

const readWord = (words) => words[RECORDS + Atomics.load(words, POINTER) * 32];

export function unprotected(words) {
  return () => {
    let sum = 0;
    for (let i = 0; i < BATCH; i++) sum += readRecord(words);
    return sum;
  };
}

/** Quiescent states between groups of reads, which is all that QSBR asks of readers. */
export function qsbr(words, rcu) {
  return () => {
    let sum = 0;
    for (let i = 0; i < BATCH; i++) {
      sum += readRecord(words);
      if (i % READS_PER_QUIESCENT_STATE === 0) rcu.quiescent();
    }
    return sum;
  };
}

/** The same with sections marked, so that misuse is found; with flavour `mb` the marks are the protection. */
export function sections(words, rcu) {
  return () => {
    let sum = 0;
    for (let i = 0; i < BATCH; i++) {
      rcu.readLock();
      sum += readRecord(words);
      rcu.readUnlock();
      if (i % READS_PER_QUIESCENT_STATE === 0) rcu.quiescent();
    }
    return sum;
  };
}

export function locked(words) {
  const lock = new RwLock(words, LOCK);
  return () => {
    let sum = 0;
    for (let i = 0; i < BATCH; i++) {
      lock.lockShared();
      sum += readRecord(words);
      lock.unlockShared();
    }
    return sum;
  };
}

export function wordUnprotected(words) {
  return () => {
    let sum = 0;
    for (let i = 0; i < BATCH; i++) sum += readWord(words);
    return sum;
  };
}

export function wordQsbr(words, rcu) {
  return () => {
    let sum = 0;
    for (let i = 0; i < BATCH; i++) sum += readWord(words);
    rcu.quiescent();
    return sum;
  };
}

export function wordSections(words, rcu) {
  return () => {
    let sum = 0;
    for (let i = 0; i < BATCH; i++) {
      rcu.readLock();
      sum += readWord(words);
      rcu.readUnlock();
    }
    return sum;
  };
}

export function wordLocked(words) {
  const lock = new RwLock(words, LOCK);
  return () => {
    let sum = 0;
    for (let i = 0; i < BATCH; i++) {
      lock.lockShared();
      sum += readWord(words);
      lock.unlockShared();
    }
    return sum;
  };
}
