import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SpinLocks, type LockArray } from "@x/smp";
import { DataplaneError, DropReason, Stage, type ProxyParameters } from "@x/proxy-dataplane";
import { bytes, ethernet, icmpEcho, ipv4, tcp4, tcp6, udp4, udp6 } from "./frames.ts";
import { configOf, machine, server } from "./machine.ts";
import { ACK, ends, fromServer, SYN } from "./traffic.ts";

describe("parameters", () => {
  test("have the defaults of the original and are typed and ranged", () => {
    const { dataplane } = machine();
    const names = [
      "perf_enable_batching",
      "perf_enable_zero_copy",
      "perf_enable_rcu",
      "perf_batch_size",
      "perf_cache_size",
    ] as const;
    expect(names.map((name) => dataplane.getParameter(name))).toEqual([true, true, true, 32, 1024]);
    const bad: [string, unknown][] = [
      ["perf_batch_size", 0],
      ["perf_batch_size", 257],
      ["perf_batch_size", 1.5],
      ["perf_batch_size", true],
      ["perf_enable_rcu", 1],
      ["perf_cache_size", 1000],
      ["perf_cache_size", 8192],
      ["perf_speed", 1],
      ["toString", 1],
    ];
    for (const [name, value] of bad) {
      expect(() => dataplane.setParameter(name as keyof ProxyParameters, value as never)).toThrow(
        expect.objectContaining({ code: "DATAPLANE_INVALID_PARAMETER" }),
      );
    }
  });

  const stages = (m: { sizes: number[] }) => ({
    onStage: (_cpu: number, stage: Stage, packets: number): void => {
      if (stage === Stage.Receive) m.sizes.push(packets);
    },
  });

  test("the batch size, and batching itself, are obeyed by the next batch", () => {
    const seen = { sizes: [] as number[] };
    const m = machine({ observer: stages(seen) });
    const ten = Array.from({ length: 10 }, () => udp4());
    const sizes = (): number[] => {
      seen.sizes.length = 0;
      m.send(ten);
      return [...seen.sizes];
    };
    expect(sizes()).toEqual([10]);
    m.dataplane.setParameter("perf_batch_size", 4);
    expect(sizes()).toEqual([4, 4, 2]);
    m.dataplane.setParameter("perf_enable_batching", false);
    expect(sizes()).toEqual(Array.from({ length: 10 }, () => 1));
  });

  test("without zero-copy every packet is copied, and none leaks", () => {
    const m = machine({ params: { perf_enable_zero_copy: false } });
    const before = m.pool.stats().copied;
    const [sent] = m.send([tcp4()]);
    expect(ends(sent)).toBe("10.0.0.1 1000 > 192.0.2.1 1080");
    expect(m.pool.stats().copied - before).toBe(1);
    const id = m.packet(tcp4());
    const clone = m.dataplane.clonePacket(id);
    expect(m.pool.isShared(id)).toBe(false);
    m.pool.free(id);
    m.pool.free(clone);
    expect(m.pool.inUse).toBe(0);
  });

  test("without a buffer for the copy the packet is dropped, counted and freed", () => {
    const drops: DropReason[] = [];
    const m = machine({
      buffers: 1,
      params: { perf_enable_zero_copy: false },
      observer: { onDrop: (_cpu, reason) => drops.push(reason) },
    });
    expect(m.send([tcp4()])).toEqual([]);
    expect(drops).toEqual([DropReason.NoBuffer]);
    expect(m.pool.inUse).toBe(0);
  });

  test("without RCU every packet's configuration is read under the lock", () => {
    const names: string[] = [];
    const m = machine({ lockObserver: { onAcquired: (locks) => names.push(locks.name) } });
    m.send([udp4()]);
    names.length = 0;
    m.send([udp4(), udp4()]);
    expect(names).toEqual([]);
    m.dataplane.setParameter("perf_enable_rcu", false);
    const before = m.dataplane.statistics(0).lockAcquisitions;
    m.send([udp4(), udp4()]);
    expect(names).toEqual(["proxy-config", "proxy-config"]);
    expect(m.dataplane.statistics(0).lockAcquisitions - before).toBe(2);
  });

  test("the cache size is obeyed at once, 0 is no cache", () => {
    const m = machine({ params: { perf_cache_size: 4 } });
    const flows = Array.from({ length: 64 }, (_, i) => udp4({ sourcePort: i + 1 }));
    m.send(flows);
    const hits = (): number => {
      const before = m.dataplane.statistics().cacheHits;
      m.send(flows);
      return m.dataplane.statistics().cacheHits - before;
    };
    expect(hits()).toBeLessThanOrEqual(4);
    m.dataplane.setParameter("perf_cache_size", 1024);
    hits();
    expect(hits()).toBe(64);
    m.dataplane.setParameter("perf_cache_size", 0);
    expect(hits()).toBe(0);
  });

  test("no choice of parameters changes what comes out", () => {
    const frames = Array.from({ length: 60 }, (_, i) =>
      (i % 3 === 0 ? tcp4 : udp4)({ sourcePort: 1 + (i % 7) }, bytes(i)),
    );
    const all = fc.record({
      perf_enable_batching: fc.boolean(),
      perf_enable_zero_copy: fc.boolean(),
      perf_enable_rcu: fc.boolean(),
      perf_batch_size: fc.integer({ min: 1, max: 256 }),
      perf_cache_size: fc.constantFrom(0, 4, 64, 1024),
    });
    const expected = machine().send(frames);
    fc.assert(
      fc.property(all, (params) => {
        const m = machine({ params });
        expect(m.send(frames)).toEqual(expected);
        expect(m.pool.inUse).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});

describe("batches", () => {
  test("packets wait until the batch is full, are flushed by hand or by age, and none is lost", () => {
    const m = machine({ params: { perf_batch_size: 4 } });
    const out = new Int32Array(256);
    const add = (): number => m.dataplane.addToBatch(m.packet(udp4()), out);
    expect([add(), add(), add(), add(), add()]).toEqual([0, 0, 0, 4, 0]);
    expect(m.dataplane.pending).toBe(1);
    expect(m.dataplane.flush(out)).toBe(1);
    add();
    m.hal.nowNs += 1000;
    expect(m.dataplane.flushOlderThan(2000, out)).toBe(0);
    m.hal.nowNs += 1000;
    expect(m.dataplane.flushOlderThan(2000, out)).toBe(1);
    m.dataplane.setParameter("perf_batch_size", 256);
    for (let i = 0; i < 10; i++) add();
    m.dataplane.setParameter("perf_enable_batching", false);
    expect(add()).toBe(11);
    expect(m.dataplane.statistics().packetsProcessed).toBe(17);
  });

  test("a batch that cannot be flushed for want of room refuses more and loses nothing", () => {
    const m = machine({ cpus: 2, params: { perf_batch_size: 256 } });
    const [tiny, out] = [new Int32Array(1), new Int32Array(256)];
    for (let i = 0; i < 255; i++) m.dataplane.addToBatch(m.packet(udp4()), tiny);
    const refused = expect.objectContaining({ code: "DATAPLANE_INVALID_ARGUMENT" });
    const last = m.packet(udp4());
    expect(() => m.dataplane.addToBatch(last, tiny)).toThrow(refused);
    const more = m.packet(udp4());
    expect(() => m.dataplane.addToBatch(more, out)).toThrow(refused);
    expect(m.dataplane.flush(out)).toBe(256);
    expect(m.dataplane.pending).toBe(0);
  });

  test("a packet that is not out ends the batch with an error, and the read section with it", () => {
    const m = machine({ params: { perf_enable_zero_copy: false } });
    expect(() => m.dataplane.process(Int32Array.of(77), 1, new Int32Array(1))).toThrow(DataplaneError);
    expect(m.rcu.inSection()).toBe(false);
  });

  test("each CPU has a batch of its own", () => {
    const m = machine({ cpus: 2 });
    const out = new Int32Array(8);
    m.dataplane.addToBatch(m.packet(udp4()), out);
    m.hal.cpu = 1;
    expect([m.dataplane.pending, m.dataplane.flush(out)]).toEqual([0, 0]);
    m.hal.cpu = 0;
    expect(m.dataplane.flush(out)).toBe(1);
  });

  test("every stage is told in order, and memory that is touched lies inside", () => {
    const told: number[] = [];
    let touches = 0;
    const m = machine({
      observer: {
        onStage: (_cpu, stage) => told.push(stage),
        onTouch: (offset, length) => {
          expect(offset).toBeGreaterThan(0);
          expect(length).toBeGreaterThan(0);
          touches++;
        },
      },
    });
    m.send([tcp4()]);
    expect(told).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    // The headers are read, the connection is counted, its tuple is read, the headers are rewritten.
    expect(touches).toBe(4);
  });
});

describe("statistics", () => {
  test("all twelve fields of a CPU are fed, and the totals are the sums", () => {
    const m = machine({ cpus: 2 });
    m.hal.now = () => (m.hal.nowNs += 100);
    m.send([tcp4({ flags: SYN }), udp4(), tcp4().subarray(0, 30)], 1);
    m.send([tcp4({ flags: ACK })], 1);
    m.send([tcp4({ ...fromServer, flags: ACK })], 0);
    m.hal.now = () => m.hal.nowNs;
    m.hal.cpu = 1;
    m.dataplane.updateConfig(configOf([server("192.0.2.5")]));
    m.settle();
    const one = m.dataplane.statistics(1);
    expect(one).toMatchObject({ packetsProcessed: 4, packetsDropped: 1, bytesProcessed: 66 + 54 + 30 + 66 });
    expect(one).toMatchObject({ cacheHits: 1, cacheMisses: 2, rcuGracePeriods: 1, processingTimeNs: 200 });
    expect(one.allocFast + one.allocSlow).toBe(2);
    expect(one.lockAcquisitions).toBeGreaterThan(4);
    expect(one.lastUpdatedNs).toBeGreaterThan(5e9);
    const [zero, total] = [m.dataplane.statistics(0), m.dataplane.statistics()];
    for (const name of Object.keys(total) as (keyof typeof total)[]) {
      if (name !== "lastUpdatedNs") expect(total[name]).toBe(zero[name] + one[name]);
    }
    expect(total.lastUpdatedNs).toBe(zero.lastUpdatedNs);
    expect(m.dataplane.aggregate()).toEqual({
      bytesSent: 66 + 54 + 66,
      bytesReceived: 66,
      packetsSent: 3,
      packetsReceived: 1,
      connectionsActive: 2,
      connectionsTotal: 2,
    });
  });

  test("contention is counted when another CPU holds the lock", () => {
    let configLock: SpinLocks | undefined;
    const onAcquired = (locks: LockArray): void => {
      if (locks.name === "proxy-config" && locks instanceof SpinLocks) configLock = locks;
    };
    const m = machine({ cpus: 2, params: { perf_enable_rcu: false }, lockObserver: { onAcquired } });
    m.send([udp4()]);
    expect(m.dataplane.statistics(0).lockContentions).toBe(0);
    m.hal.cpu = 1;
    configLock?.lock();
    // CPU 0 spins; meanwhile CPU 1 lets go.
    m.hal.relax = (): void => {
      m.hal.cpu = 1;
      configLock?.unlock();
      m.hal.cpu = 0;
    };
    m.send([udp4()], 0);
    expect(m.dataplane.statistics(0).lockContentions).toBe(1);
  });

  test("the report is the original's, and reset begins anew without losing connections", () => {
    const m = machine({ cpus: 3 });
    m.send([udp4(), udp4(), tcp4().subarray(0, 30)], 1);
    m.send([udp4()], 1);
    expect(m.dataplane.dumpStats().split("\n")).toEqual([
      "========== MUTEX Performance Statistics ==========",
      "CPU 1: packets=4, bytes=192, dropped=1, cache_hits=1, cache_misses=2, hit_rate=33%",
      "Total: packets=4, bytes=192, dropped=1",
      "Cache: hits=1, misses=2, hit_rate=33%",
      expect.stringMatching(/^Hash table: lookups=\d+, collisions=\d+, max_chain=1, avg_chain=1\.000$/),
      expect.stringMatching(/^Conn pool: alloc=1, free=0, peak=\d+$/),
      "=".repeat(50),
    ]);
    m.dataplane.resetStats();
    expect(m.dataplane.statistics()).toMatchObject({ packetsProcessed: 0, cacheHits: 0, lastUpdatedNs: 0 });
    expect(m.dataplane.connectionCount).toBe(1);
  });
});

describe("hostile packets", () => {
  test("are dropped or sent on, never an error, and every buffer comes back", () => {
    const m = machine({ cpus: 2 });
    const seeds = [tcp4(), udp4(), tcp6(), udp6(), ethernet(0x800, ipv4(1, icmpEcho(8, 1)))];
    const change = fc.tuple(fc.nat(), fc.nat(255));
    const hostile = fc
      .tuple(fc.constantFrom(...seeds), fc.array(change, { maxLength: 5 }), fc.nat())
      .map(([seed, changes, cut]) => {
        const frame = seed.slice(0, cut % 4 === 0 ? cut % (seed.length + 1) : seed.length);
        for (const [at, value] of changes) if (frame.length > 0) frame[at % frame.length] = value;
        return frame;
      });
    fc.assert(
      fc.property(fc.array(hostile, { maxLength: 40 }), fc.nat(1), (frames, cpu) => {
        const sent = m.send(frames, cpu);
        const { packetsProcessed, packetsDropped } = m.dataplane.statistics();
        expect(sent.length).toBeLessThanOrEqual(frames.length);
        expect(packetsDropped).toBeLessThanOrEqual(packetsProcessed);
        expect(m.pool.inUse).toBe(0);
        m.hal.nowNs += 1e9;
        m.dataplane.expire(m.hal.nowNs, 64);
        m.settle();
      }),
      { numRuns: 400 },
    );
    m.hal.nowNs += 8000e9;
    m.dataplane.expire();
    m.settle();
    expect(m.dataplane.connectionCount).toBe(0);
  });

  test("a batch larger than out is refused whole", () => {
    const m = machine();
    expect(() => m.dataplane.process(new Int32Array(4), 4, new Int32Array(3))).toThrow(DataplaneError);
    expect(m.dataplane.statistics().packetsProcessed).toBe(0);
  });
});
