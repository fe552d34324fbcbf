// The peer: the priority queue one writes first, a binary heap of objects; highest priority first, then first in first out.
export class Heap {
  items = [];
  push(item) {
    let at = this.items.push(item) - 1;
    for (; at > 0; at = (at - 1) >> 1) {
      const parent = (at - 1) >> 1;
      if (!before(item, this.items[parent])) break;
      this.items[at] = this.items[parent];
      this.items[parent] = item;
    }
  }
  pop() {
    const first = this.items[0];
    const last = this.items.pop();
    if (this.items.length === 0) return first;
    let at = 0;
    this.items[0] = last;
    for (;;) {
      let best = 2 * at + 1;
      if (best >= this.items.length) return first;
      if (best + 1 < this.items.length && before(this.items[best + 1], this.items[best])) best++;
      if (!before(this.items[best], last)) return first;
      this.items[at] = this.items[best];
      this.items[best] = last;
      at = best;
    }
  }
}

function before(a, b) {
  return a.priority === b.priority ? a.order < b.order : a.priority > b.priority;
}
