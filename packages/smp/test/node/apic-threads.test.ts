import { describe, expect, it } from "vitest";
import {
  ApicRegister,
  IoApic,
  IoApicRegister,
  LocalApic,
  SharedApicBus,
  WorkerHal,
  apicCommand,
  redirectionEntry,
  type ApicDeliveryMode,
} from "../../src/index.ts";
import { startCpus } from "../../src/node/index.ts";

/* Longer: SMP_APIC_ROUNDS=100000 npx vitest run test/node/apic-threads.test.ts */
const rounds = Number(process.env["SMP_APIC_ROUNDS"] ?? 300);
const entry = new URL("../fixtures/apic-cpu.mjs", import.meta.url);
const CPUS = 3;
const TIMEOUT_NS = 20e9;

/** The boot processor on this thread, and the others on theirs, with their APICs at ids 2 and 4. */
async function machine() {
  const hal = WorkerHal.create({ possibleCpus: CPUS });
  const bus = SharedApicBus.create({ hal });
  const apic = new LocalApic({ apicId: 0, bus, hal, bootProcessor: true });
  bus.connect(apic);
  apic.write(ApicRegister.SpuriousVector, 0x1ff);
  const threads = await startCpus({ cpus: CPUS - 1, entry, data: bus.handle, hal });
  const send = (destination: number, mode: ApicDeliveryMode, vector: number, logical = false): void => {
    apic.write(ApicRegister.InterruptCommandHigh, destination << 24);
    apic.write(ApicRegister.InterruptCommandLow, apicCommand({ mode, vector, logical }));
  };
  /** Serve until so many interrupts have come. */
  const take = async (count: number): Promise<number[]> => {
    const vectors: number[] = [];
    while (vectors.length < count) {
      const vector = apic.acknowledge();
      if (vector >= 0) {
        vectors.push(vector);
        apic.write(ApicRegister.EndOfInterrupt, 0);
      } else if ((await bus.waitAsync(TIMEOUT_NS)) === 0) throw new Error(`only ${vectors.length} of ${count} came`);
    }
    return vectors.sort((a, b) => a - b);
  };
  /** Wait until both have connected, which they do after they have joined. */
  while (
    bus.deliver(0, { mode: "init", vector: 0, shorthand: 3, destination: 0, logical: false, levelTriggered: false }) < 2
  )
    await bus.waitAsync(1e6);
  for (const attempt of [0x9a, 0x9b]) for (const id of [2, 4]) send(id, "startup", attempt);
  expect(await take(2)).toEqual([0xf1, 0xf2]);
  const stop = async (): Promise<void> => {
    for (const id of [2, 4]) send(id, "nmi", 0);
    await threads.exited;
  };
  return { bus, apic, send, take, stop };
}

describe("local APICs on threads of their own", () => {
  it("start by INIT and start-up interrupts, and answer every burst of vectors, none lost and none twice", async () => {
    const { send, take, stop } = await machine();
    const burst = Array.from({ length: 40 }, (_, index) => 0x30 + index * 4);
    for (let round = 0; round < rounds; round++) {
      burst.forEach((vector, index) => send(index % 2 === 0 ? 2 : 4, "fixed", vector));
      expect(await take(burst.length)).toEqual(burst);
    }
    send(0b110, "lowest-priority", 0x77, true);
    expect(await take(1)).toEqual([0x77]);
    await stop();
  });

  it("take a level from an I/O APIC elsewhere again and again until its pin is released, once for each end", async () => {
    const { bus, take, stop } = await machine();
    const ioApic = new IoApic({ bus });
    bus.connectIoApic(ioApic);
    const window = (register: number, value: number): void => {
      ioApic.write(IoApicRegister.Select, register);
      ioApic.write(IoApicRegister.Window, value);
    };
    window(IoApicRegister.Redirection + 1, 2 << 24);
    window(IoApicRegister.Redirection, redirectionEntry({ vector: 0x61, level: true }));
    ioApic.setPin(0, true);
    for (let round = 0; round < rounds; round++) expect(await take(1)).toEqual([0x61]);
    ioApic.setPin(0, false);
    await stop();
    bus.poll();
    ioApic.write(IoApicRegister.Select, IoApicRegister.Redirection);
    expect(ioApic.read(IoApicRegister.Window) & (1 << 14)).toBe(0);
  });
});
