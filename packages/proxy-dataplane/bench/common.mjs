import { Rcu } from "@x/rcu";
import { Dataplane, FlowCache, internetChecksum, PacketPool, proxyConfigCell } from "@x/proxy-dataplane";

/** A UDP frame of flow `i`: 10.0.x.y:40000 → 198.51.100.7:5000. */
export function udpFrame(i, length = 64) {
  const frame = new Uint8Array(length);
  const view = new DataView(frame.buffer);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45]);
  view.setUint16(16, length - 14);
  frame.set([64, 17], 22);
  frame.set([10, i >> 16, (i >> 8) & 255, i & 255, 198, 51, 100, 7], 26);
  view.setUint16(24, internetChecksum(frame, 14, 34));
  view.setUint16(34, 40000);
  view.setUint16(36, 5000);
  view.setUint16(38, length - 34);
  const pseudo = 17 + (length - 34) + 0x0a00 + (i >> 16) + (i & 0xffff) + (198 << 8) + 51 + (100 << 8) + 7;
  view.setUint16(40, internetChecksum(frame, 34, length, pseudo));
  return frame;
}

export const config = {
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

/** A TCP segment of flow `i` with the ACK flag, 10.0.x.y:40000 → 198.51.100.7:5000. */
export function tcpFrame(i, length = 64) {
  const frame = udpFrame(i, length);
  const view = new DataView(frame.buffer);
  frame[23] = 6;
  view.setUint16(24, 0);
  view.setUint16(24, internetChecksum(frame, 14, 34));
  frame.fill(0, 38, 54);
  view.setUint32(38, 1000);
  view.setUint32(42, 2000);
  frame.set([0x50, 0x10, 0xff, 0xff], 46);
  const pseudo = 6 + (length - 34) + 0x0a00 + (i >> 16) + (i & 0xffff) + (198 << 8) + 51 + (100 << 8) + 7;
  view.setUint16(50, internetChecksum(frame, 34, length, pseudo));
  return frame;
}

/** Frames of `flows` flows in one piece of memory, each so that its IP header is at a multiple of four, as a card lays them. */
export function frameMemory(flows, length, makeFrame) {
  const stride = Math.ceil((length + 2) / 4) * 4;
  const bytes = new Uint8Array(flows * stride + 4);
  for (let i = 0; i < flows; i++) bytes.set(makeFrame(i, length), i * stride + 2);
  return { bytes, stride };
}

/**
 * A data path with `flows` flows established, and a function that takes one packet of each of `size` flows from memory
 * through it: into a pool buffer, through all nodes, free again.
 */
export function makeDataplane({ flows = 1000, length = 64, size = BATCH, tcp = false, ...params } = {}) {
  const rcu = Rcu.create();
  const pool = PacketPool.create({ buffers: 1024 });
  const { perf_cache_size: entries = 1024 } = params;
  const dataplane = Dataplane.create({
    pool,
    rcu,
    config: proxyConfigCell({ rcu, initial: config }),
    cache: FlowCache.create({ entries: Math.max(4, entries) }),
    maxConnections: Math.min(2 ** 20, flows * 2),
    params: { perf_batch_size: size, ...params },
  });
  const { bytes, stride } = frameMemory(flows, length, tcp ? tcpFrame : udpFrame);
  const next = flowNumbers(flows);
  const batch = new Int32Array(size);
  const out = new Int32Array(size);
  const run = () => {
    pool.allocMany(batch, size);
    for (let i = 0; i < size; i++) pool.write(batch[i], bytes, next() * stride + 2, length);
    const sent = dataplane.process(batch, size, out);
    pool.freeMany(out, sent);
    rcu.quiescent();
    return sent;
  };
  for (let i = 0; i < flows; i += size) run();
  warmUp(run);
  return { run, dataplane, pool, rcu };
}

/**
 * Packets of flows `first` to `first + flows - 1` that stay in the pool, as a card that writes to memory delivers them, and a far end
 * that sends every packet back: it swaps source and destination, so packets go both ways in turn. `run` takes the next `size`
 * packets through; `idle` is what the far end alone costs.
 */
export function echoLoop({ pool, dataplane, rcu, flows, first = 0, length = 64, size = 256, tcp = false }) {
  const total = Math.ceil(flows / size) * size;
  const packets = new Int32Array(total);
  for (let i = 0; i < total; i++) {
    packets[i] = pool.alloc();
    pool.write(packets[i], (tcp ? tcpFrame : udpFrame)(first + (i % flows), length), 0, length);
  }
  const batch = new Int32Array(size);
  const out = new Int32Array(dataplane.roomFor(size));
  const { offsets } = pool.columns;
  const { words } = pool;
  let at = 0;
  const bounce = (ids, count) => {
    for (let i = 0; i < count; i++) {
      const ip = (offsets[ids[i]] + 14) >> 2;
      const source = words[ip + 3];
      const ports = words[ip + 5];
      words[ip + 3] = words[ip + 4];
      words[ip + 4] = source;
      words[ip + 5] = (ports << 16) | (ports >>> 16);
    }
  };
  const take = () => {
    for (let i = 0; i < size; i++) batch[i] = packets[at + i];
    at = at + size === total ? 0 : at + size;
  };
  const run = () => {
    take();
    const sent = dataplane.process(batch, size, out);
    bounce(out, sent);
    rcu.quiescent();
    return sent;
  };
  const idle = () => {
    take();
    bounce(batch, size);
    bounce(batch, size);
    return size;
  };
  for (let i = 0; i < total; i += size) run();
  warmUp(run);
  return { run, idle };
}

/** {@link echoLoop} with a data path of its own; `more` is for its configuration, `network` for its path. */
export function makeEcho({
  flows = 1000,
  length = 64,
  size = 256,
  tcp = false,
  more = {},
  network = {},
  ...params
} = {}) {
  const rcu = Rcu.create();
  const pool = PacketPool.create({ buffers: Math.ceil(flows / size) * size + 256, clones: 1, bufferBytes: 128 });
  const { perf_cache_size: entries = 4096 } = params;
  const dataplane = Dataplane.create({
    pool,
    rcu,
    config: proxyConfigCell({ rcu, initial: { ...config, ...more } }),
    network,
    cache: FlowCache.create({ entries: Math.max(4, entries) }),
    maxConnections: Math.min(2 ** 20, flows * 2),
    params: { perf_batch_size: size, perf_cache_size: entries, ...params },
  });
  return { ...echoLoop({ pool, dataplane, rcu, flows, length, size, tcp }), dataplane, pool, rcu };
}
