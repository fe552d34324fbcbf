// The peer: a reader–writer lock on one shared word, as small libraries have it. 0 free, n readers, -1 a writer.
export class RwLock {
  constructor(words, index) {
    this.words = words;
    this.index = index;
  }
  lockShared() {
    for (;;) {
      const readers = Atomics.load(this.words, this.index);
      if (readers >= 0 && Atomics.compareExchange(this.words, this.index, readers, readers + 1) === readers) return;
    }
  }
  unlockShared() {
    Atomics.sub(this.words, this.index, 1);
  }
  lock() {
    while (Atomics.compareExchange(this.words, this.index, 0, -1) !== 0);
  }
  unlock() {
    Atomics.store(this.words, this.index, 0);
  }
}
