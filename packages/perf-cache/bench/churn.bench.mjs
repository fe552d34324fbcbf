// A bounded cache whose working set is four times its size: get, then set on a miss. The peers are least-recently-used caches
// of the same number of entries over the same integer keys (the hashes); ours verifies the whole key in the flow table.
import { ConnectionCache, FlowTable, hashTuple, writeIpv4Key } from "@x/perf-cache";
import { LRUCache } from "lru-cache";
import { LRUMapWithDelete } from "mnemonist";

const ENTRIES = 1024;
const FLOWS = 4 * ENTRIES;
const STEPS = 4096;

function prepare(zipf) {
  const table = FlowTable.create({ hash: "jhash", capacity: FLOWS });
  const keys = new Int32Array(FLOWS * 10);
  const hashes = new Int32Array(FLOWS);
  const entries = new Int32Array(FLOWS);
  for (let flow = 0; flow < FLOWS; flow++) {
    writeIpv4Key(keys, flow * 10, 0x0a000000 + flow, 0x08080808, 1024 + flow, 443, 6);
    hashes[flow] = hashTuple(keys, flow * 10);
    entries[flow] = table.insert(keys, flow * 10, hashes[flow], flow);
  }
  let state = 7;
  const next = () => ((state = (Math.imul(state, 1664525) + 1013904223) | 0) >>> 0) / 2 ** 32;
  const sequence = Int32Array.from({ length: STEPS * 16 }, () =>
    zipf ? Math.min(FLOWS - 1, Math.floor(Math.exp(next() * Math.log(FLOWS))) - 1) : Math.floor(next() * FLOWS),
  );
  return { table, keys, hashes, entries, sequence };
}

/** Runs of STEPS flows, a different part of the sequence each time. */
function steps(sequence, step) {
  let from = 0;
  return () => {
    let hits = 0;
    for (let i = 0; i < STEPS; i++) hits += step(sequence[from + i]);
    from = (from + STEPS) % sequence.length;
    return hits;
  };
}

function ours({ table, keys, hashes, entries, sequence }) {
  const cache = ConnectionCache.create({ entries: ENTRIES });
  return steps(sequence, (flow) => {
    if (cache.lookup(table, keys, flow * 10, hashes[flow]) !== 0) return 1;
    cache.insert(hashes[flow], entries[flow], table.generation(entries[flow]));
    return 0;
  });
}

function mapLike(cache, { hashes, entries, sequence }) {
  return steps(sequence, (flow) => {
    if (cache.get(hashes[flow]) !== undefined) return 1;
    cache.set(hashes[flow], entries[flow]);
    return 0;
  });
}

const churn = (name, zipf) => ({
  name: `get, set on miss, ${FLOWS} flows in ${ENTRIES} entries, ${name}`,
  unit: "ns/op",
  ops: STEPS,
  setup: async () => {
    const load = prepare(zipf);
    return {
      ours: ours(load),
      peers: {
        "mnemonist LRUMapWithDelete": mapLike(new LRUMapWithDelete(Int32Array, Int32Array, ENTRIES), load),
        "lru-cache": mapLike(new LRUCache({ max: ENTRIES }), load),
      },
    };
  },
});

export default [churn("uniform", false), churn("zipf", true)];
