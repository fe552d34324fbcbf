// The whole data path on one CPU, 1000 established flows, packets from memory; and the same with one feature off.
import { BATCH, makeDataplane } from "./common.mjs";
import { makeNaive } from "./naive.mjs";

const against = (name, peer, params, more = {}) => ({
  name,
  unit: "Mpackets/s",
  ops: BATCH,
  setup: async () => ({
    ours: makeDataplane(more).run,
    peers: { [peer]: makeDataplane({ ...more, ...params }).run },
  }),
});

export default [
  {
    name: "data path, 64-byte packets, 1000 flows",
    unit: "Mpackets/s",
    ops: BATCH,
    setup: async () => ({ ours: makeDataplane().run, peers: { "Buffer, Map by text, full checksums": makeNaive() } }),
  },
  {
    name: "data path, 1500-byte packets, 1000 flows",
    unit: "Mpackets/s",
    ops: BATCH,
    setup: async () => ({
      ours: makeDataplane({ length: 1500 }).run,
      peers: { "Buffer, Map by text, full checksums": makeNaive({ length: 1500 }) },
    }),
  },
  against("batching on", "batching off", { perf_enable_batching: false }),
  against("zero-copy on, 64 bytes", "zero-copy off", { perf_enable_zero_copy: false }),
  against("zero-copy on, 1500 bytes", "zero-copy off", { perf_enable_zero_copy: false }, { length: 1500 }),
  against("RCU configuration on", "RCU off", { perf_enable_rcu: false }),
  against("connection cache of 1024, 500 flows", "no cache", { perf_cache_size: 0 }, { flows: 500 }),
];
