// What is done with an allocator; each shape gives a function that does BATCH operations. The loops are compiled anew for
// every allocator, so that the types of one do not disturb another's: a program has one allocator at a place, too.
export const BATCH = 64;
const LIVE = 4096;

let copies = 0;
const compiled = (body) => (api) => {
  // The number makes the text a new one, which the engine does not look up among those it has compiled.
  // oxlint-disable-next-line no-implied-eval -- the text is a constant
  const make = new Function("{ alloc, free, touch }", "BATCH", "LIVE", `${body} // ${copies++}`);
  return make(api, BATCH, LIVE);
};

export const pairs = compiled(`
  return () => {
    let last = 0;
    for (let i = 0; i < BATCH; i++) {
      const object = alloc();
      last = touch(object, i);
      free(object);
    }
    return last;
  };`);

export const batches = compiled(`
  const list = Array.from({ length: BATCH }, () => alloc());
  list.forEach((object) => free(object));
  return () => {
    for (let i = 0; i < BATCH; i++) touch((list[i] = alloc()), i);
    for (let i = 0; i < BATCH; i++) free(list[i]);
    return BATCH;
  };`);

export const replacements = compiled(`
  const live = Array.from({ length: LIVE }, () => alloc());
  let seed = 1;
  return () => {
    for (let i = 0; i < BATCH; i++) {
      seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
      const slot = (seed >>> 8) % LIVE;
      free(live[slot]);
      touch((live[slot] = alloc()), i);
    }
    return seed;
  };`);
