import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DropReason, type AddedNode, type PacketVector } from "@x/proxy-dataplane";
import { bytes, ethernet, ipv4, tcp4, udp4, udp6 } from "./frames.ts";
import { machine } from "./machine.ts";

const counting = (name: string, after: string, seen: number[]): AddedNode => ({
  name,
  after,
  process(_vector: PacketVector, _positions: Int32Array, count: number): number {
    seen.push(count);
    return count;
  },
});

describe("the graph", () => {
  test("calls its nodes in the order of the documentation, an added one behind the one it names", () => {
    const m = machine({ nodes: [counting("mine", "lookup", []), counting("second", "mine", [])] });
    m.send([udp4()]);
    expect(m.dataplane.nodeStatistics().map(({ name }) => name)).toEqual([
      "receive",
      "parse",
      "fragments",
      "hash",
      "lookup",
      "mine",
      "second",
      "state",
      "route",
      "related",
      "rewrite",
      "transmit",
    ]);
  });

  test("counts calls, packets and those that end in each node, and a reset begins anew", () => {
    const m = machine({ cpus: 2, params: { perf_batch_size: 4 } });
    const arp = ethernet(0x806, bytes(0, 1, 8, 0, 6, 4, 0, 1, new Uint8Array(20)));
    m.send([udp4(), arp, udp4().subarray(0, 20), udp4(), udp4()], 1);
    const nodes = (cpu?: number) =>
      Object.fromEntries(m.dataplane.nodeStatistics(cpu).map((node) => [node.name, node]));
    expect(nodes()).toMatchObject({
      receive: { vectors: 2, packets: 5, ended: 0 },
      parse: { vectors: 2, packets: 5, ended: 2 },
      lookup: { vectors: 2, packets: 3, ended: 0 },
      transmit: { vectors: 2, packets: 3, ended: 0 },
    });
    expect([nodes(0).parse.packets, nodes(1).parse.packets]).toEqual([0, 5]);
    m.dataplane.resetStats();
    expect(nodes().parse).toEqual({ name: "parse", vectors: 0, packets: 0, ended: 0 });
  });

  test("a node may drop packets and send others on as they are, in any mix, and order and buffers are kept", () => {
    const verdicts = fc.array(fc.constantFrom("pass", "drop", "direct"), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(
        verdicts,
        fc.integer({ min: 1, max: 16 }),
        fc.constantFrom("parse", "lookup", "route"),
        (all, size, after) => {
          let next = 0;
          const drops: DropReason[] = [];
          const node: AddedNode = {
            name: "filter",
            after,
            process(vector, positions, count): number {
              for (let p = 0; p < count; p++) {
                const what = all[next++];
                if (what === "drop") vector.drop(positions[p]);
                else if (what === "direct") vector.direct(positions[p]);
              }
              return vector.keepTracked(positions, count);
            },
          };
          const observer = { onDrop: (_cpu: number, reason: DropReason) => drops.push(reason) };
          const m = machine({ nodes: [node], params: { perf_batch_size: size }, observer });
          // The source port tells the packets apart, the destination whether they were rewritten.
          const out = m.send(all.map((_, i) => (i % 5 === 4 ? udp6 : udp4)({ sourcePort: 100 + i })));
          const kept = all.flatMap((what, i) => (what === "drop" ? [] : [{ what, i }]));
          expect(out.length).toBe(kept.length);
          for (const [at, { what, i }] of kept.entries()) {
            const [port, destination] = i % 5 === 4 ? [54, 38] : [34, 30];
            expect((out[at][port] << 8) | out[at][port + 1]).toBe(100 + i);
            if (i % 5 !== 4) expect(out[at][destination] === 192).toBe(what === "pass");
          }
          expect(drops).toEqual(all.filter((what) => what === "drop").map(() => DropReason.Node));
          expect(m.dataplane.details().dropNode).toBe(drops.length);
          expect(m.pool.inUse).toBe(0);
        },
      ),
      { numRuns: 40 },
    );
  });

  test("nodes behind one that took packets out see the positions of the others", () => {
    const ports: number[] = [];
    const odd: AddedNode = {
      name: "odd",
      after: "parse",
      process(vector, positions, count): number {
        for (let p = 0; p < count; p += 2) vector.drop(positions[p]);
        return vector.keepTracked(positions, count);
      },
    };
    const look: AddedNode = {
      name: "look",
      after: "rewrite",
      process(vector, positions, count): number {
        for (let p = 0; p < count; p++) ports.push(vector.ports[positions[p]] & 0xffff);
        return count;
      },
    };
    const m = machine({ nodes: [odd, look] });
    m.send([1, 2, 3, 4, 5].map((low) => udp4({ sourcePort: low << 8 })));
    m.send([6, 7].map((low) => udp4({ sourcePort: low << 8 })));
    // Raw ports: the first byte is the lowest.
    expect(ports).toEqual([2, 4, 7]);
  });

  test("two nodes of one name, or one behind nobody, are refused", () => {
    const refused = expect.objectContaining({ code: "DATAPLANE_INVALID_ARGUMENT" });
    expect(() => machine({ nodes: [counting("parse", "lookup", [])] })).toThrow(refused);
    expect(() => machine({ nodes: [counting("mine", "nowhere", [])] })).toThrow(refused);
  });
});

describe("the connection cache", () => {
  test("never changes what comes out, whatever its size, however it is emptied, and while connections end", () => {
    const step = fc.record({
      flow: fc.nat(40),
      what: fc.constantFrom("udp", "udp", "udp", "tcp", "six", "flush", "expire", "resize"),
      size: fc.constantFrom(0, 4, 8, 64),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const m = machine({ params: { perf_cache_size: 4 } });
        const plain = machine({ params: { perf_cache_size: 0 } });
        for (const { flow, what, size } of steps) {
          const make = what === "tcp" ? tcp4 : what === "six" ? udp6 : udp4;
          for (const each of [m, plain]) {
            if (what !== "expire") continue;
            each.hal.nowNs += 200e9;
            each.dataplane.expire();
            each.settle();
          }
          if (what === "resize") m.dataplane.setParameter("perf_cache_size", size);
          const frames = [make({ sourcePort: 1 + flow }), make({ sourcePort: 1 + (flow % 3) })];
          expect(m.send(frames)).toEqual(plain.send(frames));
        }
        const list = (each: typeof m) => [...each.dataplane.connections()].map(({ id: _id, ...rest }) => rest);
        expect(list(m)).toEqual(list(plain));
      }),
      { numRuns: 25 },
    );
  });

  test("forgets connections that have ended, also when their memory is used again", () => {
    const m = machine({ maxConnections: 1 });
    m.send([udp4({ sourcePort: 1 }), udp4({ sourcePort: 1 })]);
    m.hal.nowNs += 200e9;
    m.dataplane.expire();
    m.settle();
    const before = m.dataplane.statistics().cacheHits;
    m.send([udp4({ sourcePort: 2 })]);
    m.send([udp4({ sourcePort: 1 })]);
    expect(m.dataplane.statistics().cacheHits).toBe(before);
    expect([...m.dataplane.connections()]).toMatchObject([{ packetsSent: 1, original: { sourcePort: 1 } }]);
  });
});

test("IPv4 that is odd in any way goes the general way and comes out like any other", () => {
  const odd = [
    ethernet(0x800, ipv4(17, udp4().subarray(34), { options: [1, 1, 1, 1] })),
    ethernet(0x800, udp4().subarray(14), [[0x8100, 7]]),
  ];
  const m = machine();
  for (const frame of odd) m.send([frame]);
  const [first, second] = [...m.dataplane.connections()];
  expect(second).toBeUndefined();
  expect(first).toMatchObject({ packetsSent: 2, server: 0 });
});
