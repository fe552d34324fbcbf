// What a look-up costs at 10^3 to 10^6 flows, in random order, in bulk, hash given; a Map from the same hashes beside it. With
// PERF_CACHE_FLOWS=10000000 that many flows besides, without the Map, and what a flow takes of memory is printed.
import { FlowTable, hashTuple, writeIpv4Key } from "@x/perf-cache";

const CALL = 4096;
const CALLS = 16;
const BULK = 32;
const MANY = Number(process.env.PERF_CACHE_FLOWS ?? 0);

function random(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 0) / 2 ** 32;
  };
}

function writeFlow(key, at, flow) {
  writeIpv4Key(key, at, 0x0a000000 + (flow >>> 4), 0xc6336400 + (flow % 509), 1024 + (flow & 15) * 997, 443, 6);
}

/** Keys one behind the other in pieces of BULK, as a receive ring gives them. */
function packets(flows) {
  const next = random(flows);
  return Array.from({ length: (CALL * CALLS) / BULK }, () => {
    const keys = new Int32Array(BULK * 10);
    const hashes = new Int32Array(BULK);
    for (let i = 0; i < BULK; i++) {
      writeFlow(keys, i * 10, Math.floor(next() * flows));
      hashes[i] = hashTuple(keys, i * 10);
    }
    return { keys, hashes };
  });
}

function fill(flows) {
  const before = process.memoryUsage().rss;
  const table = FlowTable.create({ capacity: flows, hash: "jhash" });
  const key = new Int32Array(10);
  for (let flow = 0; flow < flows; flow++) {
    writeFlow(key, 0, flow);
    table.insert(key, 0, hashTuple(key, 0), flow);
  }
  if (flows === MANY) {
    const bytes = ((process.memoryUsage().rss - before) / flows).toFixed(1);
    process.stderr.write(`${flows} flows: ${bytes} bytes a flow, ${table.size} in the table\n`);
  }
  return table;
}

function each(pieces, lookup) {
  let from = 0;
  return () => {
    let sum = 0;
    for (let i = 0; i < CALL / BULK; i++) sum += lookup(pieces[from + i]);
    from = (from + CALL / BULK) % pieces.length;
    return sum;
  };
}

const scale = (flows) => ({
  name: `flow look-up, ${flows} flows, random order, in bulk`,
  unit: "ns/op",
  ops: CALL,
  setup: async () => {
    const table = fill(flows);
    const pieces = packets(flows);
    const out = new Int32Array(BULK);
    const single = each(pieces, ({ keys, hashes }) => {
      let found = 0;
      for (let i = 0; i < BULK; i++) if (table.lookup(keys, i * 10, hashes[i]) !== 0) found++;
      return found;
    });
    const peers = { "the same, one by one": single };
    if (flows !== MANY) {
      const map = new Map();
      table.forEach((entry) => map.set(table.hashOf(entry), entry));
      peers["Map, the hash as its key, nothing verified"] = each(pieces, ({ hashes }) => {
        let found = 0;
        for (let i = 0; i < BULK; i++) if (map.get(hashes[i]) !== undefined) found++;
        return found;
      });
    }
    return { ours: each(pieces, ({ keys, hashes }) => table.lookupBulk(keys, hashes, BULK, out)), peers };
  },
});

export default [1e3, 1e4, 1e5, 1e6, ...(MANY > 0 ? [MANY] : [])].map(scale);
