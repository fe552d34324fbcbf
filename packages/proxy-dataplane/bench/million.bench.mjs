// A million flows: more than any cache of the host holds.
import { makeEcho } from "./common.mjs";

const SIZE = 256;
const FLOWS = 1_000_000;

const million = (entries) => ({
  name: `UDP both ways, 64-byte packets, ${FLOWS} flows, connection cache of ${entries}`,
  unit: "Mpackets/s",
  ops: SIZE,
  setup: async () => ({ ours: makeEcho({ size: SIZE, flows: FLOWS, perf_cache_size: entries }).run, peers: {} }),
});

export default [million(2 ** 22), million(4096)];
