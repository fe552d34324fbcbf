// What measuring costs: keeping a sample, counting a latency, and having a named call stack at hand.
import { createHistogram } from "node:perf_hooks";
import { LatencyHistogram, Profiler, ShadowStack } from "@x/profiling";
import { soloHal } from "@x/smp";

const SAMPLES = 1 << 16;
const DEPTH = 12;

function recordSample() {
  const profiler = Profiler.create({ config: { maxSamples: SAMPLES } });
  const stack = Int32Array.from({ length: DEPTH }, (_, frame) => frame + 1);
  profiler.start();
  let time = 0;
  let objects = [];
  return {
    ours: () => {
      if (!profiler.record(time++, 0, 7, false, stack, DEPTH)) profiler.reset();
      return time;
    },
    peers: {
      "array of objects": () => {
        objects.push({ timeNs: time++, cpu: 0, taskId: 7, kernelMode: false, stack: stack.slice() });
        if (objects.length === SAMPLES) objects = [];
        return time;
      },
    },
  };
}

/** Latencies spread over four octaves around 10 µs, made beforehand. */
const LATENCIES = Float64Array.from({ length: 4096 }, (_, at) =>
  Math.floor(2500 * 2 ** (((at * 2654435761) >>> 0) / 2 ** 30)),
);

function recordLatency() {
  const histogram = LatencyHistogram.create();
  const buckets = new Map();
  const builtin = createHistogram();
  let at = 0;
  return {
    ours: () => {
      histogram.record(LATENCIES[at++ & 4095]);
      return at;
    },
    peers: {
      "Map of buckets": () => {
        const value = LATENCIES[at++ & 4095];
        const exponent = Math.max(6, 31 - Math.clz32(value));
        const bucket = (exponent << 6) + ((value >>> (exponent - 6)) & 63);
        buckets.set(bucket, (buckets.get(bucket) ?? 0) + 1);
        return at;
      },
      "node:perf_hooks histogram": () => {
        builtin.record(LATENCIES[at++ & 4095]);
        return at;
      },
    },
  };
}

/** The one's-complement sum of `words`, as a stand-in for handling one packet. */
function checksum(words, count) {
  let sum = 0;
  for (let at = 0; at < count; at++) sum += words[at];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** A batch handled under its name, the clock read once per 64 packets, against the same code without either. */
function tracedBatch(words, packets) {
  const packet = Uint16Array.from({ length: words }, (_, at) => at * 40503);
  const hal = soloHal();
  const profiler = Profiler.create({ hal, config: { intervalNs: 1_000_000, maxSamples: SAMPLES } });
  const stack = ShadowStack.create({ hal, profiler });
  const symbol = profiler.symbols.intern("checksum");
  profiler.start();
  let now = hal.now();
  let handled = 0;
  const handle = () => {
    let sum = 0;
    for (let at = 0; at < packets; at++) sum += checksum(packet, words);
    return sum;
  };
  return {
    ours: () => {
      stack.enter(symbol);
      const sum = handle();
      handled += packets;
      if ((handled & 63) === 0) now = hal.now();
      stack.poll(now);
      stack.leave();
      return sum;
    },
    peers: { "not traced": handle },
  };
}

export default [
  { name: `record a sample, ${DEPTH} functions deep`, unit: "ns/op", setup: async () => recordSample() },
  { name: "record a latency", unit: "ns/op", setup: async () => recordLatency() },
  { name: "trace one 64-byte packet", unit: "ns/op", setup: async () => tracedBatch(32, 1) },
  { name: "trace a batch of 16 such packets", unit: "ns/op", setup: async () => tracedBatch(32, 16) },
  { name: "trace one 1500-byte packet", unit: "ns/op", setup: async () => tracedBatch(750, 1) },
];
