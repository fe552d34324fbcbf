import { Session } from "node:inspector/promises";
import { describe, expect, it } from "vitest";
import {
  CpuMask,
  IpiMailbox,
  IpiType,
  LocalApic,
  McsLocks,
  Mutexes,
  PerCpuCounters,
  PerCpuData,
  RwLocks,
  SeqLocks,
  SharedApicBus,
  SpinLocks,
  TicketLocks,
  WorkerHal,
} from "../src/index.ts";

/*
 * Hot paths leave nothing for the garbage collector: the engine's sampling profiler, told to count what was collected too, finds less than
 * a byte for each turn. What is still interpreted allocates: only after many turns is it measured.
 */
const WARM_UP = 150_000;
const TURNS = 50_000;
const SAMPLING_BYTES = 512;
const hal = WorkerHal.create({ possibleCpus: 4 });
const chosen = Array.from({ length: 64 }, (_, index) => index * 4 + 1);

function lockPair(Locks: typeof SpinLocks | typeof TicketLocks | typeof McsLocks | typeof Mutexes | typeof SeqLocks) {
  const locks = Locks.create({ hal });
  return () => {
    locks.lock();
    locks.unlock();
    locks.guard()[Symbol.dispose]();
  };
}

function readPair(): () => void {
  const locks = RwLocks.create({ hal });
  return () => {
    locks.lock();
    locks.unlock();
    locks.lockShared();
    locks.unlockShared();
  };
}

function readSequence(): () => void {
  const locks = SeqLocks.create({ hal });
  const copy = new Int32Array(2);
  const data = new Int32Array(new SharedArrayBuffer(8));
  return () => locks.read(copy, data);
}

function masks(): () => void {
  const [a, b, into] = [CpuMask.of(256, chosen), CpuMask.of(256, [1, 2, 255]), new CpuMask(256)];
  let sum = 0;
  const visit = (cpu: number): void => void (sum += cpu);
  return () => {
    into.copy(a).and(b).or(a).xor(b).andNot(b).not().add(7).delete(8);
    for (let cpu = a.first(), left = 4; cpu >= 0 && left > 0; cpu = a.next(cpu), left--) sum += cpu;
    b.forEach(visit);
    if (into.intersects(a) || into.isSubsetOf(a) || into.equals(a) || into.isEmpty()) sum += into.count() + into.last();
    sum |= 0;
  };
}

function counters(): () => void {
  const all = PerCpuCounters.create({ names: ["a", "b"], hal });
  return () => {
    all.add(0, 1);
    all.addOn(0, 1, 1);
  };
}

function perCpuData(): () => void {
  const data = PerCpuData.create({ hal });
  return () => {
    data.enterHardirq();
    data.leaveHardirq();
  };
}

function messages(): () => void {
  const mailbox = IpiMailbox.create({ hal });
  let sum = 0;
  const handler = (_type: IpiType, payload: number): void => void (sum = (sum + payload) | 0);
  return () => {
    mailbox.send(0, IpiType.Generic, 1);
    mailbox.send(0, IpiType.Reschedule);
    mailbox.receive(handler);
  };
}

function interrupts(): () => void {
  const bus = SharedApicBus.create({ hal });
  const apic = new LocalApic({ apicId: 0, bus, hal });
  bus.connect(apic);
  apic.write(0xf0, 0x1ff);
  const other = SharedApicBus.attach(bus.handle, { hal });
  const message = { mode: "fixed", vector: 0x41, destination: 0, shorthand: 0, logical: false } as const;
  const posted = { ...message, levelTriggered: false };
  return () => {
    other.deliver(1, posted);
    bus.poll(0);
    apic.acknowledge();
    apic.write(0xb0, 0);
  };
}

/** Bytes allocated for each turn of `run`, and where the most. */
async function allocated(run: () => void): Promise<{ bytes: number; where: string }> {
  for (let turn = 0; turn < WARM_UP; turn++) run();
  const session = new Session();
  session.connect();
  const options = { includeObjectsCollectedByMajorGC: true, includeObjectsCollectedByMinorGC: true };
  await session.post("HeapProfiler.startSampling", { samplingInterval: SAMPLING_BYTES, ...options });
  for (let turn = 0; turn < TURNS; turn++) run();
  const { profile } = await session.post("HeapProfiler.stopSampling");
  session.disconnect();
  let total = 0;
  let most = 0;
  let where = "";
  const nodes = [profile.head];
  for (let node = nodes.pop(); node !== undefined; node = nodes.pop()) {
    total += node.selfSize;
    if (node.selfSize > most) {
      most = node.selfSize;
      where = `${node.callFrame.functionName} ${node.callFrame.url}:${node.callFrame.lineNumber}`;
    }
    nodes.push(...node.children);
  }
  return { bytes: total / TURNS, where };
}

describe("the hot path allocates nothing", () => {
  it.each([
    ["SpinLocks", lockPair(SpinLocks)],
    ["TicketLocks", lockPair(TicketLocks)],
    ["McsLocks", lockPair(McsLocks)],
    ["Mutexes", lockPair(Mutexes)],
    ["SeqLocks, to write", lockPair(SeqLocks)],
    ["SeqLocks, to read", readSequence()],
    ["RwLocks", readPair()],
    ["CpuMask of 256", masks()],
    ["PerCpuCounters", counters()],
    ["PerCpuData", perCpuData()],
    ["IpiMailbox", messages()],
    ["SharedApicBus and LocalApic", interrupts()],
  ])("%s", async (_name, run) => {
    const { bytes, where } = await allocated(run);
    expect(bytes, `most in ${where}`).toBeLessThan(2);
  });

  it("and the measure shows an object at each turn", async () => {
    const kept: object[] = [];
    let turn = 0;
    const { bytes } = await allocated(() => void (kept[turn++ & 255] = { turn }));
    expect(bytes).toBeGreaterThan(16);
  });
});
