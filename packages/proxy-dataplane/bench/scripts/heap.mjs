// `node --expose-gc bench/scripts/heap.mjs`: what the heap has grown by, and how often it was collected, after DATAPLANE_PACKETS packets (10^8).
import { PerformanceObserver } from "node:perf_hooks";
import { makeEcho } from "../common.mjs";

const packets = Number(process.env.DATAPLANE_PACKETS ?? 1e8);
const { run } = makeEcho({ flows: 1000 });
let collections = 0;
new PerformanceObserver((list) => (collections += list.getEntries().length)).observe({ entryTypes: ["gc"] });
const turn = () => new Promise((resolve) => setTimeout(resolve, 10));

globalThis.gc?.();
await turn();
const collectedBefore = collections;
const before = process.memoryUsage().heapUsed;
const start = performance.now();
let done = 0;
while (done < packets) done += run();
const seconds = (performance.now() - start) / 1000;
const grown = process.memoryUsage().heapUsed - before;
await turn();
const collected = collections - collectedBefore;
globalThis.gc?.();
const kept = process.memoryUsage().heapUsed - before;
console.log(
  `${done} packets in ${seconds.toFixed(1)} s: heap grew by ${grown} bytes, ${collected} collections; ${kept} bytes kept`,
);
