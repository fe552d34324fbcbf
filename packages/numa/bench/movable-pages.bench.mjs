// Using a page that may move: a pin by one word per page against a lock around the look-up of where it is.
import { MovablePages, PageAllocator } from "@x/numa";
import { SpinLocks } from "@x/smp";

const PAGES = 1024;

function movable() {
  const pages = PageAllocator.create({ zones: [{ node: 0, bytes: PAGES * 4096 }] });
  const table = MovablePages.create({ pages, capacity: PAGES });
  const ids = Array.from({ length: PAGES }, () => table.map());
  const words = new Int32Array(pages.buffer);
  let turn = 0;
  return () => {
    const id = ids[(turn = (turn + 7) % PAGES)];
    const value = words[table.pin(id) >> 2];
    table.unpin(id);
    return value;
  };
}

function locked(locks, lockOf) {
  const pages = PageAllocator.create({ zones: [{ node: 0, bytes: PAGES * 4096 }] });
  const frames = Int32Array.from({ length: PAGES }, () => pages.allocPages(0));
  const words = new Int32Array(pages.buffer);
  let turn = 0;
  return () => {
    const id = (turn = (turn + 7) % PAGES);
    locks.lock(lockOf(id));
    const value = words[frames[id] >> 2];
    locks.unlock(lockOf(id));
    return value;
  };
}

export default [
  {
    name: "use a page that may move (pin + read + unpin)",
    unit: "ns/op",
    setup: async () => ({
      ours: movable(),
      peers: {
        "one lock for the table": locked(SpinLocks.create(), () => 0),
        "a lock per page": locked(SpinLocks.create({ count: PAGES }), (id) => id),
      },
    }),
  },
];
