import { Rcu } from "@x/rcu";
import { Dataplane, internetChecksum, PacketPool, proxyConfigCell } from "@x/proxy-dataplane";

/** A 64-byte UDP frame of flow `i`: 10.0.x.y:40000 → 198.51.100.7:5000. */
export function udpFrame(i) {
  const frame = new Uint8Array(64);
  const view = new DataView(frame.buffer);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45]);
  view.setUint16(16, 50);
  frame.set([64, 17], 22);
  frame.set([10, 0, i >> 8, i & 255, 198, 51, 100, 7], 26);
  view.setUint16(24, internetChecksum(frame, 14, 34));
  view.setUint16(34, 40000);
  view.setUint16(36, 5000);
  view.setUint16(38, 30);
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

/**
 * A data path with `flows` flows established, and a function that sends one packet of each of 32 flows through it.
 * Packets are taken from memory: written into pool buffers, processed, freed.
 */
export function makeDataplane({ flows = 1000, ...params } = {}) {
  const rcu = Rcu.create();
  const pool = PacketPool.create({ buffers: 1024 });
  const dataplane = Dataplane.create({
    pool,
    rcu,
    config: proxyConfigCell({ rcu, initial: config }),
    maxConnections: flows * 2,
    params,
  });
  const frames = Array.from({ length: flows }, (_, i) => udpFrame(i));
  const batch = new Int32Array(32);
  const out = new Int32Array(32);
  let flow = 0;
  let turns = 0;
  const run = () => {
    for (let i = 0; i < 32; i++) {
      const packet = pool.alloc();
      pool.write(packet, frames[flow], 0, 64);
      batch[i] = packet;
      // A stride that is coprime to the number of flows: neighbours in a batch are of different flows.
      flow = (flow + 7) % flows;
    }
    const sent = dataplane.process(batch, 32, out);
    for (let i = 0; i < sent; i++) pool.free(out[i]);
    if ((++turns & 63) === 0) rcu.quiescent();
    return sent;
  };
  for (let i = 0; i < flows; i++) run();
  return { run, dataplane, pool, rcu };
}
