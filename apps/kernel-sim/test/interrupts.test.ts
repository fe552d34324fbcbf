import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApicRegister } from "@x/smp";
import { buildMadt, type MadtEntrySpec } from "@x/smp/acpi";
import { afterAll, describe, expect, test } from "vitest";
import { bootMachine, emulate } from "../src/experiment/emulation.ts";
import { defaultScenarioFile, loadScenario, type Scenario } from "../src/experiment/scenario.ts";
import { interruptRows } from "../src/report/interrupts.ts";

const base = loadScenario(defaultScenarioFile);
const folder = mkdtempSync(join(tmpdir(), "kernel-sim-interrupts-"));
afterAll(() => rmSync(folder, { recursive: true }));

const on = (machine: string, cpus?: number): Scenario => ({ ...base, machine, threads: [], ...(cpus ? { cpus } : {}) });

function boot(scenario: Scenario) {
  const lines: string[] = [];
  const { machine, kernel } = bootMachine(scenario, ({ text }) => lines.push(text));
  /** Let everything happen until a time. */
  const run = (ns: number): void => {
    const endNs = machine.nowNs + ns;
    while (machine.nowNs < endNs) if (!machine.step()) throw new Error("the machine stands still");
  };
  return { machine, kernel, lines, run };
}

/** A machine of these MADT structures and nothing else. */
function machineOf(entries: readonly MadtEntrySpec[]): string {
  const made = mkdtempSync(join(folder, "machine-"));
  writeFileSync(join(made, "apic.dat"), buildMadt({ entries }));
  return made;
}

describe("the boot log of interrupt controllers", () => {
  test.each([
    [
      "server-2s",
      [
        "ACPI: LAPIC_NMI (acpi_id[0xff] high edge lint[0x1])",
        "IOAPIC[0]: apic_id 8, version 32, address 0xfec00000, GSI 0-23",
        "IOAPIC[1]: apic_id 9, version 32, address 0xfec01000, GSI 24-31",
        "ACPI: INT_SRC_OVR (bus 0 bus_irq 0 global_irq 2 dfl dfl)",
        "ACPI: INT_SRC_OVR (bus 0 bus_irq 9 global_irq 9 high level)",
        "APIC: Switched APIC routing to: physical flat",
        "..TIMER: vector=0x30 apic1=0 pin1=2 apic2=-1 pin2=-1",
        "tsc: Detected 2400.000 MHz processor",
      ],
    ],
    ["laptop", ["APIC: Switched APIC routing to: flat", "APIC: Switch to symmetric I/O mode setup"]],
    [
      "server-4n",
      [
        "ACPI: X2APIC_NMI (uid[0xffffffff] high edge lint[0x1])",
        "IOAPIC[2]: apic_id 10, version 32, address 0xfec20000, GSI 240-263",
        "x2apic: enabled by BIOS, switching to x2apic ops",
        "APIC: Switched APIC routing to: physical x2apic",
      ],
    ],
  ])("of %s is what someone who reads dmesg expects", (machine, expected) => {
    const { lines } = boot(on(machine, 2));
    for (const line of expected) expect(lines).toContain(line);
  });

  test("enables x2APIC mode where the MADT has x2APIC entries and the firmware has not done it", () => {
    const entries = [0, 1].map((id) => ({ type: 9, x2apicId: id, flags: 1, acpiProcessorUid: id }) as const);
    const { lines, machine } = boot(on(machineOf(entries)));
    expect(lines).toContain("x2apic enabled");
    expect(machine.apics.map(({ mode }) => mode)).toEqual(["x2apic", "x2apic"]);
  });
});

describe("timers", () => {
  test.each([
    ["laptop", 0],
    ["server-2s", 2.4e9],
  ])("of %s are measured against the interval timer, whose interrupts come through the I/O APIC", (machine, tscHz) => {
    const { kernel } = boot(on(machine, 1));
    expect(Math.abs(kernel.timerRates.tscHz - tscHz)).toBeLessThanOrEqual(tscHz * 1e-6);
    expect(Math.abs(kernel.timerRates.apicHz * 16 - 100e6)).toBeLessThan(100e6 * 1e-4);
    const timer = interruptRows(kernel).find(({ name }) => name === "0");
    expect(timer?.description).toBe("IO-APIC 2-edge timer");
    expect(timer?.counts[0]).toBe(14);
  });

  test.each(["laptop", "server-2s"])("of %s give every CPU its ticks", (machine) => {
    const { kernel, run } = boot(on(machine, 3));
    const before = [0, 1, 2].map((cpu) => kernel.interrupts.timer[cpu]);
    run(50e6);
    for (const cpu of [0, 1, 2])
      expect(Math.abs(kernel.interrupts.timer[cpu] - before[cpu] - 50)).toBeLessThanOrEqual(1);
  });

  test("of a board without an I/O APIC are what the processors say of themselves", () => {
    const processors = [0, 1].map((id) => ({ type: 0, acpiProcessorId: id, apicId: id, flags: 1 }) as const);
    const { kernel, lines, run } = boot(on(machineOf(processors)));
    expect(lines).toContain("tsc: frequencies from CPUID leaf 0x15");
    expect(lines.filter((line) => line.startsWith("IOAPIC"))).toEqual([]);
    expect(kernel.machine.legacy.serial).toBeUndefined();
    const before = kernel.interrupts.timer[1];
    run(20e6);
    expect(kernel.interrupts.timer[1] - before).toBeGreaterThan(18);
  });
});

describe("interrupts of the board", () => {
  test("bring the console's text out, sixteen bytes at a time", () => {
    const { kernel, machine, run } = boot(on("server-2s", 2));
    run(20e6);
    const text = "kernel-sim login: ";
    expect(machine.legacy.serial?.sent.endsWith(text)).toBe(true);
    const count = interruptRows(kernel).find(({ name }) => name === "4")?.counts[0] ?? 0;
    // One to begin, one after each queue of bytes.
    expect(count).toBe(1 + Math.ceil((machine.legacy.serial?.sent.length ?? 0) / 16));
  });

  test.each(["laptop", "server-2s", "server-4n"])(
    "come again on %s while a level-triggered line stays asserted",
    (name) => {
      const { kernel, machine, run } = boot(on(name, 2));
      let served = 0;
      const handler = (): void => {
        if (++served === 3) machine.controllers.setLine(9, false);
      };
      // The boot processor asks for it, as a driver's code on it would.
      kernel.at(machine.nowNs, () => expect(kernel.irqs.requestIsa(9, "acpi", handler)).toBe(true));
      run(1e6);
      machine.controllers.setLine(9, true);
      run(1e6);
      expect(served).toBe(3);
      expect(interruptRows(kernel).find((row) => row.name === "9")?.description).toBe("IO-APIC 9-fasteoi acpi");
      kernel.irqs.mask(9);
      machine.controllers.setLine(9, true);
      run(1e6);
      expect(served).toBe(3);
    },
  );

  test("tell of an error that a local APIC notes", () => {
    const { kernel, machine, lines, run } = boot(on("server-2s", 2));
    kernel.at(machine.nowNs, () => machine.apicWrite(0x10, 0));
    run(1e6);
    expect(lines).toContain("APIC error on CPU0: 00(80)");
  });

  test("are counted by CPU in the report, as /proc/interrupts has them", async () => {
    const { report, files } = await emulate({
      ...on("server-4n"),
      traffic: { ...base.traffic, repeat: 1, clients: 1 },
    });
    const rows = new Map(report.interrupts.map((row) => [row.name, row]));
    const of = (name: string): readonly number[] => rows.get(name)?.counts ?? [];
    const queues = report.interrupts.filter(({ description }) => description.startsWith("PCI-MSIX"));
    const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);
    for (const { cpu, timerInterrupts, deviceInterrupts } of report.cpus) {
      const board = of("0")[cpu] + of("4")[cpu];
      expect(of("LOC")[cpu]).toBe(timerInterrupts);
      expect(sum(queues.map(({ counts }) => counts[cpu])) + board).toBe(deviceInterrupts);
    }
    // CPUs 16 to 23 and 40 to 47 have APIC ids above 255: the card reaches them.
    expect(sum(queues.map(({ counts }) => sum(counts.slice(16, 24)) + sum(counts.slice(40))))).toBeGreaterThan(0);
    expect(files["interrupts.txt"]).toMatch(/^ +CPU0 +CPU1 /);
    expect(files["interrupts.txt"]).toMatch(/^LOC: .* Local timer interrupts$/m);
    expect(sum(of("ERR"))).toBe(0);
  });
});

test("local APICs are set up as the kernel's routing needs them", () => {
  const { machine } = boot(on("laptop", 8));
  expect(machine.apics.map((apic) => apic.read(ApicRegister.LogicalDestination) >>> 24)).toEqual([
    1, 2, 4, 8, 16, 32, 64, 128,
  ]);
  for (const [cpu, apic] of machine.apics.entries()) {
    expect(apic.read(ApicRegister.TaskPriority)).toBe(0x10);
    expect(apic.read(ApicRegister.SpuriousVector)).toBe(0x1ff);
    expect(apic.read(ApicRegister.LvtLint1)).toBe(0x400 | (cpu === 0 ? 0 : 1 << 16));
    expect(apic.read(ApicRegister.ErrorStatus)).toBe(0);
  }
});
