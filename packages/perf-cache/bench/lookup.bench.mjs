// Flow look-ups by 5-tuple, keys drawn from a Zipf distribution, the hash computed for every packet as a data plane does.
import { ConnectionCache, fastLookup, FlowTable, hashTuple, writeIpv4Key } from "@x/perf-cache";
import { SpinLocks } from "@x/smp";
import SharedMap from "sharedmap";

/** Packets of one measured call, and how many such calls make the whole sequence. */
const PACKETS = 4096;
const CALLS = 16;
const CLIENTS = 2048;
const SERVERS = 512;

function random(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 0) / 2 ** 32;
  };
}

/** `flows` 5-tuples between some clients and some servers, and packets that choose among them with probability proportional to 1 / rank. */
function traffic(flows) {
  const next = random(42);
  const keys = new Int32Array(flows * 10);
  for (let flow = 0; flow < flows; flow++) {
    const source = 0x0a000000 + Math.floor(next() * CLIENTS);
    const destination = 0xc6336400 + Math.floor(next() * SERVERS);
    writeIpv4Key(keys, flow * 10, source, destination, 1024 + Math.floor(next() * 60000), 443, 6);
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
  return { flows, keys, packets };
}

function each(packets, lookup) {
  let from = 0;
  return () => {
    let sum = 0;
    for (let at = from; at < from + PACKETS * 10; at += 10) sum ^= lookup(packets, at);
    from = (from + PACKETS * 10) % packets.length;
    return sum;
  };
}

function fill({ flows, keys }) {
  const table = FlowTable.create({ capacity: flows, hash: "jhash" });
  for (let flow = 0; flow < flows; flow++) table.insert(keys, flow * 10, hashTuple(keys, flow * 10), flow);
  return table;
}

const stringOf = (key, at) => `${key[at]}:${key[at + 4]}:${key[at + 8]}:${key[at + 9]}`;

function stringMap({ flows, keys, packets }) {
  const map = new Map();
  for (let flow = 0; flow < flows; flow++) map.set(stringOf(keys, flow * 10), flow);
  return each(packets, (key, at) => map.get(stringOf(key, at)));
}

function nestedMaps({ flows, keys, packets }) {
  const root = new Map();
  for (let at = 0; at < flows * 10; at += 10) {
    if (!root.has(keys[at])) root.set(keys[at], new Map());
    const second = root.get(keys[at]);
    if (!second.has(keys[at + 4])) second.set(keys[at + 4], new Map());
    second.get(keys[at + 4]).set(keys[at + 8], at);
  }
  return each(packets, (key, at) =>
    root
      .get(key[at])
      .get(key[at + 4])
      .get(key[at + 8]),
  );
}

function bigIntMap({ flows, keys, packets }) {
  const bigKey = (key, at) => (BigInt(key[at]) << 64n) | (BigInt(key[at + 4] >>> 0) << 32n) | BigInt(key[at + 8] >>> 0);
  const map = new Map();
  for (let flow = 0; flow < flows; flow++) map.set(bigKey(keys, flow * 10), flow);
  return each(packets, (key, at) => map.get(bigKey(key, at)));
}

function sharedMap({ flows, keys, packets }) {
  const map = new SharedMap(flows * 2, 48, 16);
  for (let flow = 0; flow < flows; flow++) map.set(stringOf(keys, flow * 10), String(flow));
  return each(packets, (key, at) => Number(map.get(stringOf(key, at))));
}

const tableCase = (flows, peers) => ({
  name: `flow look-up, ${flows} flows, zipf`,
  unit: "ns/op",
  ops: PACKETS,
  setup: async () => {
    const load = traffic(flows);
    const table = fill(load);
    const ours = each(load.packets, (key, at) => table.lookup(key, at, hashTuple(key, at)));
    return { ours, peers: Object.fromEntries(Object.entries(peers).map(([name, make]) => [name, make(load)])) };
  },
});

/** The feature off: every packet looks up the table under one lock, as a table that readers must lock does. */
function lockedTable(load) {
  const table = fill(load);
  const lock = SpinLocks.create({ name: "table" });
  return each(load.packets, (key, at) => {
    lock.lock(0);
    const entry = table.lookup(key, at, hashTuple(key, at));
    lock.unlock(0);
    return entry;
  });
}

const cacheCase = (flows, entries) => ({
  name: `look-up through a cache of ${entries}, ${flows} flows, zipf`,
  unit: "ns/op",
  ops: PACKETS,
  setup: async () => {
    const load = traffic(flows);
    const table = fill(load);
    const cache = ConnectionCache.create({ entries });
    const ours = each(load.packets, (key, at) => fastLookup(cache, table, key, at));
    return { ours, peers: { "the same table under one lock": lockedTable(load) } };
  },
});

const maps = { "Map of Map of Map": nestedMaps, "Map, BigInt key": bigIntMap, "Map, string key": stringMap };

export default [
  tableCase(16384, { ...maps, sharedmap: sharedMap }),
  tableCase(131072, maps),
  cacheCase(512, 1024),
  cacheCase(16384, 1024),
];
