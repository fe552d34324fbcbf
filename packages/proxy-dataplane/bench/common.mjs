import { Rcu } from "@x/rcu";
import { Dataplane, internetChecksum, PacketPool, proxyConfigCell } from "@x/proxy-dataplane";

/** A UDP frame of flow `i`: 10.0.x.y:40000 → 198.51.100.7:5000. */
export function udpFrame(i, length = 64) {
  const frame = new Uint8Array(length);
  const view = new DataView(frame.buffer);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45]);
  view.setUint16(16, length - 14);
  frame.set([64, 17], 22);
  frame.set([10, 0, i >> 8, i & 255, 198, 51, 100, 7], 26);
  view.setUint16(24, internetChecksum(frame, 14, 34));
  view.setUint16(34, 40000);
  view.setUint16(36, 5000);
  view.setUint16(38, length - 34);
  const pseudo = 17 + (length - 34) + 0x0a00 + i + (198 << 8) + 51 + (100 << 8) + 7;
  view.setUint16(40, internetChecksum(frame, 34, length, pseudo));
  return frame;
}

const config = {
  version: 1,
  selection: "round-robin",
  servers: [
    { type: "socks5", address: "192.0.2.1", port: 1080, priority: 1, active: true },
    { type: "socks5", address: "192.0.2.2", port: 1080, priority: 2, active: true },
  ],
};

export const BATCH = 32;
const WARM_UP_MS = 400;

/** Runs until the optimising compiler, which works in the background, has surely caught up. */
export function warmUp(run) {
  const end = performance.now() + WARM_UP_MS;
  while (performance.now() < end) for (let i = 0; i < 100; i++) run();
}

/** Takes the numbers of flows in turn; neighbours in a batch are of different flows. */
export function flowNumbers(flows) {
  let flow = 0;
  return () => (flow = (flow + 7) % flows);
}

/**
 * A data path with `flows` flows established, and a function that takes one packet of each of 32 flows from memory
 * through it: into a pool buffer, through all stages, free again.
 */
export function makeDataplane({ flows = 1000, length = 64, ...params } = {}) {
  const rcu = Rcu.create();
  const pool = PacketPool.create({ buffers: 1024 });
  const dataplane = Dataplane.create({
    pool,
    rcu,
    config: proxyConfigCell({ rcu, initial: config }),
    maxConnections: flows * 2,
    params,
  });
  const frames = Array.from({ length: flows }, (_, i) => udpFrame(i, length));
  const next = flowNumbers(flows);
  const batch = new Int32Array(BATCH);
  const out = new Int32Array(BATCH);
  const run = () => {
    for (let i = 0; i < BATCH; i++) {
      const packet = pool.alloc();
      pool.write(packet, frames[next()], 0, length);
      batch[i] = packet;
    }
    const sent = dataplane.process(batch, BATCH, out);
    for (let i = 0; i < sent; i++) pool.free(out[i]);
    rcu.quiescent();
    return sent;
  };
  warmUp(run);
  return { run, dataplane, pool, rcu };
}
