import { expect, test } from "vitest";
import { udp4 } from "./frames.ts";
import { machine } from "./machine.ts";

/** `DATAPLANE_HEAP_PACKETS=100000000` for as many as that. */
const PACKETS = Number(process.env["DATAPLANE_HEAP_PACKETS"] ?? 500_000);
const SIZE = 256;
/** An engine that has not optimised a function yet, and clocks, may box a few numbers of each vector, but nothing of each packet. */
const MOST_BYTES_OF_A_PACKET = 8;

test(`${PACKETS} packets of known flows allocate nothing of their own`, () => {
  const m = machine({ params: { perf_batch_size: SIZE } });
  const batch = Int32Array.from({ length: SIZE }, (_, i) => m.packet(udp4({ sourcePort: 1 + (i % 100) })));
  const out = new Int32Array(SIZE);
  const { bytes, columns } = m.pool;
  const frame = udp4({ sourcePort: 1 });
  const run = (packets: number): void => {
    for (let done = 0; done < packets; done += SIZE) {
      // The far end: headers as the client sends them.
      for (let i = 0; i < SIZE; i++) {
        const at = columns.offsets[batch[i]];
        for (let octet = 24; octet < 42; octet++) bytes[at + octet] = frame[octet];
      }
      m.dataplane.process(batch, SIZE, out);
      m.rcu.quiescent();
    }
  };
  run(PACKETS / 2);
  const before = process.memoryUsage().heapUsed;
  run(PACKETS);
  const grown = process.memoryUsage().heapUsed - before;
  expect(grown / PACKETS).toBeLessThan(MOST_BYTES_OF_A_PACKET);
  for (const id of batch) m.pool.free(id);
  expect(m.pool.inUse).toBe(0);
});
