// The whole data path on one CPU, established flows, packets from memory; and the same with one feature off.
import { makeDataplane, makeEcho } from "./common.mjs";
import { makeNaive } from "./naive.mjs";

const SIZE = 256;

/** Packets lie in the pool, as a card delivers them; the far end that answers is part of the time on both sides. */
const echo = (name, options) => ({
  name,
  unit: "Mpackets/s",
  ops: SIZE,
  setup: async () => ({ ours: makeEcho({ size: SIZE, ...options }).run, peers: {} }),
});

const against = (name, peer, params, more = {}) => ({
  name,
  unit: "Mpackets/s",
  ops: SIZE,
  setup: async () => ({
    ours: makeEcho({ size: SIZE, ...more }).run,
    peers: { [peer]: makeEcho({ size: SIZE, ...more, ...params }).run },
  }),
});

const copied = (length) => ({
  name: `copied into a buffer, sent and freed: ${length}-byte packets, 1000 flows`,
  unit: "Mpackets/s",
  ops: 32,
  setup: async () => ({
    ours: makeDataplane({ length }).run,
    peers: { "Buffer, Map by text, full checksums": makeNaive({ length }) },
  }),
});

export default [
  echo("UDP both ways, 64-byte packets, 1000 flows", {}),
  echo("TCP both ways, 64-byte packets, 1000 flows", { tcp: true }),
  copied(64),
  copied(1500),
  against("batching on (256)", "batching off", { perf_enable_batching: false }),
  against("batches of 32", "batching off", { perf_enable_batching: false }, { perf_batch_size: 32 }),
  against("zero-copy on, 64 bytes", "zero-copy off", { perf_enable_zero_copy: false }),
  against("RCU configuration on", "RCU off", { perf_enable_rcu: false }),
  against("connection cache of 4096, 1000 flows", "no cache", { perf_cache_size: 0 }),
];
