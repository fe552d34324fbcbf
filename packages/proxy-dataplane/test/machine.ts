import { Rcu } from "@x/rcu";
import { soloHal, type Hal } from "@x/smp";
import {
  Dataplane,
  PacketPool,
  proxyConfigCell,
  type DataplaneOptions,
  type PacketId,
  type ProxyConfig,
  type ProxyServer,
} from "@x/proxy-dataplane";

/** Several CPUs that one thread plays, and a clock that stands still until it is moved. */
export interface TestHal extends Hal {
  cpu: number;
  nowNs: number;
}

export function testHal(possibleCpus = 1): TestHal {
  const solo = soloHal();
  return {
    possibleCpus,
    cpu: 0,
    nowNs: 5e9,
    currentCpu(): number {
      return this.cpu;
    },
    now(): number {
      return this.nowNs;
    },
    relax: () => undefined,
    kick: () => undefined,
    wait: (words, index, expected, timeoutNs) => solo.wait(words, index, expected, timeoutNs),
    wake: (words, index, count) => solo.wake(words, index, count),
  };
}

export const server = (address: string, more: Partial<ProxyServer> = {}): ProxyServer => ({
  type: "socks5",
  address,
  port: 1080,
  priority: 10,
  active: true,
  ...more,
});

export const configOf = (servers: ProxyServer[], more: Partial<ProxyConfig> = {}): ProxyConfig => ({
  version: 1,
  selection: "round-robin",
  servers,
  ...more,
});

export interface Machine {
  readonly hal: TestHal;
  readonly rcu: Rcu;
  readonly pool: PacketPool;
  readonly dataplane: Dataplane;
  /** Puts frames through the data path on `cpu`; returns the frames that came out, packets freed. */
  send(frames: readonly Uint8Array[], cpu?: number): Uint8Array[];
  packet(frame: Uint8Array): PacketId;
  read(packet: PacketId): Uint8Array;
  /** Lets every CPU pass a quiescent state until grace periods have ended. */
  settle(): void;
}

export function machine(
  options: Partial<DataplaneOptions> & {
    cpus?: number;
    initial?: ProxyConfig;
    buffers?: number;
    bufferBytes?: number;
  } = {},
): Machine {
  const hal = testHal(options.cpus ?? 1);
  const rcu = Rcu.create({ hal });
  for (hal.cpu = 0; hal.cpu < hal.possibleCpus; hal.cpu++) rcu.online();
  hal.cpu = 0;
  const pool = PacketPool.create({ buffers: options.buffers ?? 512, bufferBytes: options.bufferBytes ?? 2048, hal });
  const initial = options.initial ?? configOf([server("192.0.2.1")]);
  const config = proxyConfigCell({ rcu, initial });
  const dataplane = Dataplane.create({ hal, rcu, pool, config, maxConnections: 1024, ...options });
  const packet = (frame: Uint8Array): PacketId => {
    const id = pool.alloc();
    pool.write(id, frame, 0, frame.length);
    return id;
  };
  const read = (id: PacketId): Uint8Array => {
    const from = pool.columns.offsets[id];
    return pool.bytes.slice(from, from + pool.columns.lengths[id]);
  };
  return {
    hal,
    rcu,
    pool,
    dataplane,
    packet,
    read,
    send(frames, cpu = 0): Uint8Array[] {
      hal.cpu = cpu;
      const batch = Int32Array.from(frames, packet);
      const out = new Int32Array(dataplane.roomFor(frames.length));
      const sent = dataplane.process(batch, frames.length, out);
      const result = Array.from(out.subarray(0, sent), read);
      for (const id of out.subarray(0, sent)) pool.free(id);
      return result;
    },
    settle(): void {
      for (let round = 0; round < 4; round++) {
        for (hal.cpu = 0; hal.cpu < hal.possibleCpus; hal.cpu++) rcu.quiescent();
      }
      hal.cpu = 0;
    },
  };
}
