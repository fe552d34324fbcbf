// `node bench/scripts/promises.mjs`: the six promises of the original module beside what is measured here, each against the same path with the feature off.
// CPU time, best of rounds taken in turn: it depends little on what else the host has to do.
import { Session } from "node:inspector";
import { KmemCache } from "@x/slab";
import { makeDataplane, makeEcho } from "../common.mjs";

const ROUNDS = 15;
const VECTORS = 150;
const SIZE = 256;
const CONNECTION_BYTES = 320;
const OBJECTS = 64;

/** Nanoseconds of CPU time of one operation of each, best of rounds in turn. */
function best(subjects) {
  const found = subjects.map(() => Infinity);
  for (const { run } of subjects) run();
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, { run, ops, before, after }] of subjects.entries()) {
      before?.();
      const start = process.cpuUsage();
      for (let call = 0; call < VECTORS; call++) run();
      const { user, system } = process.cpuUsage(start);
      after?.();
      found[i] = Math.min(found[i], ((user + system) * 1000) / (VECTORS * ops));
    }
  }
  return found;
}

const vectors = (make, options, ops = SIZE) => ({ run: make({ size: ops, ...options }).run, ops });

/** Connections from the slab, and each in memory of its own that is shared too. */
function objects() {
  const cache = KmemCache.create({ name: "connections", objectSize: CONNECTION_BYTES, align: 64 });
  const offsets = new Int32Array(OBJECTS);
  const slab = () => {
    for (let i = 0; i < OBJECTS; i++) offsets[i] = cache.alloc();
    for (let i = 0; i < OBJECTS; i++) cache.free(offsets[i]);
  };
  const kept = [];
  const own = () => {
    for (let i = 0; i < OBJECTS; i++) kept[i] = new Int32Array(new SharedArrayBuffer(CONNECTION_BYTES));
  };
  return [
    { run: slab, ops: OBJECTS },
    { run: own, ops: OBJECTS },
  ];
}

function profiled() {
  const session = new Session();
  session.connect();
  session.post("Profiler.enable");
  session.post("Profiler.setSamplingInterval", { interval: 1000 });
  const { run } = makeEcho({ size: SIZE });
  return [
    { run, ops: SIZE },
    { run, ops: SIZE, before: () => session.post("Profiler.start"), after: () => session.post("Profiler.stop") },
  ];
}

const cases = [
  ["per-CPU cache", "3-10x", () => [vectors(makeEcho, {}), vectors(makeEcho, { perf_cache_size: 0 })]],
  ["slab", "10-20x", objects],
  ["RCU", "2-5x", () => [vectors(makeEcho, {}), vectors(makeEcho, { perf_enable_rcu: false })]],
  [
    "zero-copy, 1500 bytes",
    "20-30 %",
    () => [
      vectors(makeDataplane, { length: 1500 }, 128),
      vectors(makeDataplane, { length: 1500, perf_enable_zero_copy: false }, 128),
    ],
  ],
  ["batching", "2-3x", () => [vectors(makeEcho, {}), vectors(makeEcho, { perf_enable_batching: false })]],
  ["profiling at 1 kHz", "1-5 % overhead", profiled],
];

for (const [name, promise, make] of cases) {
  const [on, off] = best(make());
  const told = promise.includes("%") ? `${((off / on - 1) * 100).toFixed(1)} %` : `${(off / on).toFixed(2)}x`;
  console.log(
    `${name.padEnd(22)} promised ${promise.padEnd(15)} ${told.padStart(8)}   ${on.toFixed(1)} ns, ${name.startsWith("profiling") ? "with" : "without"} ${off.toFixed(1)} ns`,
  );
}
