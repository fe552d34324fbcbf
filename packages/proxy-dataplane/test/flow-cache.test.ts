import * as fc from "fast-check";
import { expect, test } from "vitest";
import { udp4 } from "./frames.ts";
import { machine } from "./machine.ts";

const flow = (i: number): Uint8Array => udp4({ sourcePort: 1 + (i & 0x7fff), source: [10, 0, i >> 15, 1] });

test("a cache that is half full forgets no flow, wherever the flows fall", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(60_000), { minLength: 128, maxLength: 128 }), (numbers) => {
      const m = machine({ params: { perf_cache_size: 256 } });
      const frames = numbers.map(flow);
      m.send(frames);
      const before = m.dataplane.statistics().cacheHits;
      m.send(frames);
      expect(m.dataplane.statistics().cacheHits - before).toBeGreaterThanOrEqual(127);
    }),
    { numRuns: 50 },
  );
});

test("a cache with room is used for new flows too, however many of them pass once", () => {
  const m = machine({ params: { perf_cache_size: 4096 }, maxConnections: 4096, buffers: 2048 });
  const many = Array.from({ length: 2048 }, (_, i) => flow(i));
  m.send(many);
  const before = m.dataplane.statistics().cacheHits;
  m.send(many);
  expect(m.dataplane.statistics().cacheHits - before).toBeGreaterThan(2000);
});

test("a cache that is far too small for what passes is left out, and is of use again when what passes fits", () => {
  const m = machine({ params: { perf_cache_size: 16 }, maxConnections: 4096, buffers: 2048 });
  const many = Array.from({ length: 1024 }, (_, i) => flow(i));
  const few = many.slice(0, 8);
  for (let round = 0; round < 3; round++) m.send(many);
  const before = m.dataplane.statistics();
  m.send(many);
  const after = m.dataplane.statistics();
  expect(after.cacheHits + after.cacheMisses - before.cacheHits - before.cacheMisses).toBe(1024);
  // Two vectors of 64 are looked up there meanwhile: one that notes the few, and one that finds them.
  for (let round = 0; round < 128; round++) m.send(few);
  const settled = m.dataplane.statistics().cacheHits;
  m.send(few);
  expect(m.dataplane.statistics().cacheHits - settled).toBe(8);
});
