import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { jsonCodec, Rcu, RcuCell } from "../src/index.ts";
import { ManyCpus } from "./many-cpus.ts";

interface Config {
  readonly name: string;
  readonly ports: readonly number[];
}

const validate = (value: Config): void => {
  if (value.ports.length === 0) throw new Error("no ports");
};

function cellOn(rcu: Rcu): RcuCell<Config> {
  return RcuCell.create<Config>({ rcu, codec: jsonCodec, validate, initial: { name: "a", ports: [1] }, maxBytes: 200 });
}

describe("an RCU cell", () => {
  it("reads the same frozen object until the version changes", () => {
    const rcu = Rcu.create();
    const cell = cellOn(rcu);
    const first = cell.read();
    expect(first).toEqual({ name: "a", ports: [1] });
    expect(cell.read()).toBe(first);
    expect(Object.isFrozen(first) && Object.isFrozen(first.ports)).toBe(true);
    expect(cell.version).toBe(1);
    expect(cell.update({ name: "b", ports: [2, 3] })).toBe(2);
    expect(cell.read()).toEqual({ name: "b", ports: [2, 3] });
    expect(first.name).toBe("a");
  });

  it("refuses what does not validate or fit, and keeps its value and version", () => {
    const cell = cellOn(Rcu.create());
    expect(() => cell.update({ name: "x", ports: [] })).toThrow("no ports");
    expect(() => cell.update({ name: "x".repeat(300), ports: [1] })).toThrow(
      expect.objectContaining({ code: "RCU_CELL_TOO_LARGE" }),
    );
    expect(cell.version).toBe(1);
    expect(cell.read().name).toBe("a");
  });

  it("tells when it was published by the writer's clock", () => {
    const hal = new ManyCpus(1);
    const rcu = Rcu.create({ hal });
    rcu.online();
    hal.timeNs = 7;
    const cell = cellOn(rcu);
    hal.timeNs = 9;
    expect(cell.timestampNs).toBe(7);
    cell.update({ name: "b", ports: [1] });
    expect(cell.timestampNs).toBe(9);
  });

  it("never reuses the bytes of a version before a grace period, and says so instead", async () => {
    const hal = new ManyCpus(2);
    const rcu = Rcu.create({ hal });
    hal.on(0, () => rcu.online());
    hal.on(1, () => rcu.online());
    const cell = cellOn(rcu);
    const bytes = new Uint8Array(cell.handle.memory);
    const first = Buffer.from(bytes).indexOf('{"name":"a"');
    for (let i = 2; i <= 8; i++) cell.update({ name: `v${i}`, ports: [i] });
    expect(cell.tryUpdate({ name: "v9", ports: [9] })).toBe(0);
    expect(() => cell.update({ name: "v9", ports: [9] })).toThrow(expect.objectContaining({ code: "RCU_CELL_BUSY" }));
    expect(Buffer.from(bytes).indexOf('{"name":"a"')).toBe(first);
    hal.on(0, () => rcu.quiescent());
    hal.on(1, () => rcu.offline());
    hal.on(0, () => rcu.quiescent());
    expect(await cell.updateAsync({ name: "v9", ports: [9] })).toBe(9);
    expect(Buffer.from(bytes).indexOf('{"name":"a"')).toBe(-1);
    expect(cell.read().name).toBe("v9");
  });

  it("refuses to decode on an offline CPU, which no grace period waits for", () => {
    const rcu = Rcu.create();
    const cell = cellOn(rcu);
    rcu.offline();
    expect(() => cell.read()).toThrow(expect.objectContaining({ code: "RCU_OFFLINE" }));
  });

  it("behaves as a plain variable under any mixture of reads, updates and quiescent states on two threads' objects", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("update" as const), cpu: fc.nat(1), value: fc.string({ maxLength: 20 }) }),
      fc.record({
        kind: fc.constantFrom("read" as const, "quiescent" as const),
        cpu: fc.nat(1),
        value: fc.constant(""),
      }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const hal = new ManyCpus(2);
        const rcus = [Rcu.create({ hal })];
        rcus.push(Rcu.attach(rcus[0].handle, { hal }));
        rcus.forEach((rcu, cpu) => hal.on(cpu, () => rcu.online()));
        const cells = [RcuCell.create<string>({ rcu: rcus[0], codec: jsonCodec, initial: "", slots: 4 })];
        cells.push(RcuCell.attach(cells[0].handle, { rcu: rcus[1], codec: jsonCodec }));
        let model = "";
        let version = 1;
        for (const next of steps) {
          hal.cpu = next.cpu;
          if (next.kind === "read") expect(cells[next.cpu].read()).toBe(model);
          else if (next.kind === "quiescent") rcus[next.cpu].quiescent();
          else if (cells[next.cpu].tryUpdate(next.value) !== 0) {
            model = next.value;
            version++;
          }
          expect(cells[0].version).toBe(version);
        }
      }),
    );
  });
});
