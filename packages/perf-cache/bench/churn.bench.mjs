// Bounded caches whose working set is four times their size: get, then set on a miss. The peers are least-recently-used caches of the
// same number of entries over the same integer keys. FastCache is the like of them. The connection cache answers for flows: it verifies the
// whole key of each in the flow table, and that it is still there. So do its peers, where a cache of hashes stands in front of the same table.
import { ConnectionCache, FastCache, FlowTable, hashTuple, writeIpv4Key } from "@x/perf-cache";
import { LRUCache } from "lru-cache";
import { LRUMapWithDelete } from "mnemonist";

const STEPS = 4096;

function prepare(size, zipf) {
  const count = 4 * size;
  const table = FlowTable.create({ hash: "jhash", capacity: count });
  const keys = new Int32Array(count * 10);
  const hashes = new Int32Array(count);
  const entries = new Int32Array(count);
  for (let flow = 0; flow < count; flow++) {
    writeIpv4Key(keys, flow * 10, 0x0a000000 + flow, 0x08080808, 1024 + flow, 443, 6);
    hashes[flow] = hashTuple(keys, flow * 10);
    entries[flow] = table.insert(keys, flow * 10, hashes[flow], flow);
  }
  let state = 7;
  const next = () => ((state = (Math.imul(state, 1664525) + 1013904223) | 0) >>> 0) / 2 ** 32;
  const sequence = Int32Array.from({ length: STEPS * (size > 4096 ? 128 : 16) }, () =>
    zipf ? Math.min(count - 1, Math.floor(Math.exp(next() * Math.log(count))) - 1) : Math.floor(next() * count),
  );
  return { size, table, keys, hashes, entries, sequence };
}

/** The loop over STEPS flows, a different part of the sequence each time. It is compiled anew for every cache, as a program has one at a place. */
let copies = 0;
function churning(cache, { table, keys, hashes, entries, sequence }, isHit, remember) {
  // oxlint-disable-next-line no-implied-eval -- the text is a constant
  const make = new Function(
    "cache, table, keys, hashes, entries, sequence, STEPS",
    `let from = 0;
    return () => {
      let hits = 0;
      let entry;
      for (let i = 0; i < STEPS; i++) {
        const flow = sequence[from + i];
        if (${isHit}) hits++;
        else ${remember};
      }
      from = (from + STEPS) % sequence.length;
      return hits;
    }; // ${copies++}`,
  );
  return make(cache, table, keys, hashes, entries, sequence, STEPS);
}

const isThere = "cache.get(hashes[flow]) !== undefined";
/** A hit is one when the entry is that of the flow, and in the table. */
const isVerified =
  "(entry = cache.get(hashes[flow])) !== undefined && (table.generation(entry) & 1) !== 0 && table.matches(entry, keys, flow * 10)";

const mapLike = (cache, load, isHit = isThere) =>
  churning(cache, load, isHit, "cache.set(hashes[flow], entries[flow])");

const verified = (load) =>
  churning(
    ConnectionCache.create({ entries: 1024, table: load.table }),
    load,
    "cache.lookup(table, keys, flow * 10, hashes[flow]) !== 0",
    "cache.insert(hashes[flow], entries[flow], table.generation(entries[flow]))",
  );

const peersOf = (load, isHit) => ({
  "mnemonist LRUMapWithDelete": mapLike(new LRUMapWithDelete(Int32Array, Int32Array, load.size), load, isHit),
  "lru-cache": mapLike(new LRUCache({ max: load.size }), load, isHit),
});

const churn = (size, name, zipf) => ({
  name: `get, set on miss, ${4 * size} keys in ${size} entries, ${name}`,
  unit: "ns/op",
  ops: STEPS,
  setup: async () => {
    const load = prepare(size, zipf);
    return { ours: mapLike(FastCache.create({ entries: size }), load), peers: peersOf(load) };
  },
});

const flows = (name, zipf) => ({
  name: `connection cache, verified: get, set on miss, 4096 flows in 1024 entries, ${name}`,
  unit: "ns/op",
  ops: STEPS,
  setup: async () => {
    const load = prepare(1024, zipf);
    return { ours: verified(load), peers: peersOf(load, isVerified) };
  },
});

/** Hits only: here a Map is as good. */
const hits = {
  name: "get, 512 keys in 1024 entries, hits only: a Map is as good",
  unit: "ns/op",
  ops: STEPS,
  setup: async () => {
    const load = prepare(128, false);
    load.size = 1024;
    return {
      ours: mapLike(FastCache.create({ entries: 1024 }), load),
      peers: { Map: mapLike(new Map(), load), ...peersOf(load) },
    };
  },
};

export default [
  churn(1024, "uniform", false),
  churn(1024, "zipf", true),
  churn(65536, "zipf", true),
  hits,
  flows("uniform", false),
  flows("zipf", true),
];
