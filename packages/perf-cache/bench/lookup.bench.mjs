// Flow look-ups by 5-tuple, flows drawn from a Zipf distribution. Everybody reads the same packets, ten words each, and compares all of the tuple:
// addresses, ports, protocol. Ours hashes every packet, unless the case says that the network card has done so.
import { ConnectionCache, fastLookup, FlowTable, hashTuple, writeIpv4Key } from "@x/perf-cache";
import { SpinLocks } from "@x/smp";
import SharedMap from "sharedmap";

/** Packets of one measured call, and how many such calls make the whole sequence. */
const PACKETS = 4096;
const CALLS = 16;
const BULK = 32;
/** Who talks to whom: clients behind an address translator with many servers, or clients anywhere with a few servers. */
const INSIDE = { clients: 2048, servers: 512 };
const ANYWHERE = { clients: 2 ** 24, servers: 4 };

function random(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 0) / 2 ** 32;
  };
}

/** `flows` 5-tuples between clients and servers, and packets that choose among them with probability proportional to 1 / rank. */
function traffic(flows, { clients, servers }) {
  const next = random(42);
  const keys = new Int32Array(flows * 10);
  for (let flow = 0; flow < flows; flow++) {
    const source = 0x0a000000 + Math.floor(next() * clients);
    const destination = 0xc6336400 + Math.floor(next() * servers);
    writeIpv4Key(keys, flow * 10, source, destination, 1024 + Math.floor(next() * 60000), 443, flow % 8 === 0 ? 17 : 6);
  }
  const cumulative = new Float64Array(flows);
  for (let flow = 0, sum = 0; flow < flows; flow++) cumulative[flow] = sum += 1 / (flow + 1);
  const packets = new Int32Array(CALLS * PACKETS * 10);
  for (let packet = 0; packet < CALLS * PACKETS; packet++) {
    const wanted = next() * cumulative[flows - 1];
    let flow = 0;
    let end = flows - 1;
    while (flow < end) {
      const middle = (flow + end) >> 1;
      if (cumulative[middle] < wanted) flow = middle + 1;
      else end = middle;
    }
    packets.set(keys.subarray(flow * 10, flow * 10 + 10), packet * 10);
  }
  const hashes = Int32Array.from({ length: CALLS * PACKETS }, (_, packet) => hashTuple(packets, packet * 10));
  return { flows, keys, packets, hashes };
}

/** Runs over PACKETS packets, other ones each time. Compiled anew for every subject, as a program has one look-up at a place. */
let copies = 0;
function each({ packets, hashes }, lookup) {
  // oxlint-disable-next-line no-implied-eval -- the text is a constant
  const make = new Function(
    "packets, hashes, lookup, PACKETS",
    `let from = 0;
    return () => {
      let sum = 0;
      for (let packet = from; packet < from + PACKETS; packet++) sum ^= lookup(packets, packet * 10, hashes[packet]);
      from = (from + PACKETS) % hashes.length;
      return sum;
    }; // ${copies++}`,
  );
  return make(packets, hashes, lookup, PACKETS);
}

function fill({ flows, keys }, hash) {
  const table = FlowTable.create({ capacity: flows, hash });
  for (let flow = 0; flow < flows; flow++) table.insert(keys, flow * 10, table.hash(keys, flow * 10), flow);
  return table;
}

/** The ways to look up: each packet hashed by the one or the other function, hashed by somebody else before, or 32 at a time. */
const ways = {
  jhash: (load) => {
    const table = fill(load, "jhash");
    return each(load, (key, at) => table.find(key, at));
  },
  "SipHash-1-3": (load) => {
    const table = fill(load, "siphash-1-3");
    return each(load, (key, at) => table.find(key, at));
  },
  "hash given": (load) => {
    const table = fill(load, "jhash");
    return each(load, (key, at, hash) => table.lookup(key, at, hash));
  },
  "SipHash-1-3, through a cache of as many": (load) => {
    const table = fill(load, "siphash-1-3");
    const cache = ConnectionCache.create({ entries: load.flows, maxEntries: load.flows, table });
    return each(load, (key, at) => fastLookup(cache, table, key, at));
  },
  "jhash, in bulk": (load) => inBulk(load, "jhash"),
  "SipHash-1-3, in bulk": (load) => inBulk(load, "siphash-1-3"),
};

function inBulk(load, hash) {
  const table = fill(load, hash);
  const batches = Array.from({ length: load.hashes.length / BULK }, (_, i) =>
    load.packets.slice(i * BULK * 10, (i + 1) * BULK * 10),
  );
  const hashes = new Int32Array(BULK);
  const out = new Int32Array(BULK);
  let from = 0;
  return () => {
    let sum = 0;
    for (let batch = from; batch < from + PACKETS / BULK; batch++) {
      sum += table.findBulk(batches[batch], BULK, hashes, out);
    }
    from = (from + PACKETS / BULK) % batches.length;
    return sum;
  };
}

const stringOf = (key, at) => `${key[at]}:${key[at + 4]}:${key[at + 8]}:${key[at + 9]}`;

function stringMap(load) {
  const { flows, keys } = load;
  const map = new Map();
  for (let flow = 0; flow < flows; flow++) map.set(stringOf(keys, flow * 10), flow);
  return each(load, (key, at) => map.get(stringOf(key, at)));
}

function nestedMaps(load) {
  const { flows, keys } = load;
  const root = new Map();
  for (let at = 0; at < flows * 10; at += 10) {
    let map = root;
    for (const word of [9, 0, 4]) {
      if (!map.has(keys[at + word])) map.set(keys[at + word], new Map());
      map = map.get(keys[at + word]);
    }
    map.set(keys[at + 8], at);
  }
  return each(load, (key, at) =>
    root
      .get(key[at + 9])
      ?.get(key[at])
      ?.get(key[at + 4])
      ?.get(key[at + 8]),
  );
}

function bigIntMap(load) {
  const { flows, keys } = load;
  // Protocol and source fit in one number, so three make the key.
  const bigKey = (key, at) =>
    (BigInt(key[at + 9] * 2 ** 32 + (key[at] >>> 0)) << 64n) |
    (BigInt(key[at + 4] >>> 0) << 32n) |
    BigInt(key[at + 8] >>> 0);
  const map = new Map();
  for (let flow = 0; flow < flows; flow++) map.set(bigKey(keys, flow * 10), flow);
  return each(load, (key, at) => map.get(bigKey(key, at)));
}

function sharedMap(load) {
  const { flows, keys } = load;
  const map = new SharedMap(flows * 2, 48, 16);
  for (let flow = 0; flow < flows; flow++) map.set(stringOf(keys, flow * 10), String(flow));
  return each(load, (key, at) => Number(map.get(stringOf(key, at))));
}

const maps = { "nested Maps": nestedMaps, "Map, BigInt key": bigIntMap, "Map, string key": stringMap };

const tableCase = (flows, way, clients = INSIDE, peers = maps) => ({
  name: `flow look-up, ${flows} flows, ${clients === INSIDE ? "few" : "many"} clients, zipf, ${way}`,
  unit: "ns/op",
  ops: PACKETS,
  setup: async () => {
    const load = traffic(flows, clients);
    return {
      ours: ways[way](load),
      peers: Object.fromEntries(Object.entries(peers).map(([name, make]) => [name, make(load)])),
    };
  },
});

/** The feature off: every packet looks up the table under one lock, as a table that readers must lock does. */
function lockedTable(load) {
  const table = fill(load, "jhash");
  const lock = SpinLocks.create({ name: "table" });
  return each(load, (key, at) => {
    lock.lock(0);
    const entry = table.find(key, at);
    lock.unlock(0);
    return entry;
  });
}

const cacheCase = (flows, entries) => ({
  name: `look-up through a cache of ${entries}, ${flows} flows, zipf`,
  unit: "ns/op",
  ops: PACKETS,
  setup: async () => {
    const load = traffic(flows, INSIDE);
    const table = fill(load, "jhash");
    const cache = ConnectionCache.create({ entries, table });
    const ours = each(load, (key, at) => fastLookup(cache, table, key, at));
    return { ours, peers: { "the same table under one lock": lockedTable(load) } };
  },
});

export default [
  tableCase(16384, "jhash", INSIDE, { ...maps, sharedmap: sharedMap }),
  tableCase(16384, "SipHash-1-3"),
  tableCase(16384, "SipHash-1-3, through a cache of as many"),
  tableCase(16384, "hash given"),
  tableCase(16384, "jhash, in bulk"),
  tableCase(16384, "SipHash-1-3, in bulk"),
  tableCase(131072, "jhash"),
  tableCase(131072, "SipHash-1-3"),
  tableCase(131072, "SipHash-1-3, through a cache of as many"),
  tableCase(131072, "jhash, in bulk"),
  tableCase(131072, "SipHash-1-3, in bulk"),
  tableCase(131072, "hash given"),
  tableCase(131072, "jhash", ANYWHERE),
  tableCase(131072, "SipHash-1-3", ANYWHERE),
  tableCase(131072, "SipHash-1-3, in bulk", ANYWHERE),
  cacheCase(512, 1024),
  cacheCase(16384, 1024),
];
