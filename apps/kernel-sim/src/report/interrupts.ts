import type { CpuId } from "@x/smp";
import type { Kernel } from "../kernel/kernel.ts";
import type { NetDriver } from "../kernel/net-driver.ts";
import { CALL_FUNCTION_VECTOR, ERROR_VECTOR, FIRST_DEVICE_VECTOR, LOCAL_TIMER_VECTOR } from "../kernel/vectors.ts";
import type { CpuReport, InterruptRow } from "./run-report.ts";

/** Rows whose interrupts come from the processors themselves, as Linux names them. */
const LOCAL = [
  ["LOC", "Local timer interrupts", LOCAL_TIMER_VECTOR],
  ["CAL", "Function call interrupts", CALL_FUNCTION_VECTOR],
  ["ERR", "APIC error interrupts", ERROR_VECTOR],
] as const;

/** Every interrupt that was asked for, by CPU. */
export function interruptRows(kernel: Kernel): InterruptRow[] {
  const { machine, irqs, ioApics, vectorCounts, module } = kernel;
  const counts = (vector: (cpu: CpuId) => number): number[] =>
    Array.from({ length: machine.cpuCount }, (_, cpu) => vectorCounts[cpu * 256 + vector(cpu)]);
  const board = irqs.list().map(({ irq, vector, line, name }) => {
    const trigger = line.level ? "fasteoi" : "edge";
    const description = `IO-APIC ${ioApics.place(line.gsi).pin}-${trigger} ${name}`;
    return { name: String(irq), description, counts: counts(() => vector) };
  });
  const first = ioApics.controllers.reduce((end, { gsiBase, pins }) => Math.max(end, gsiBase + pins), 0);
  const queues = Array.from({ length: module?.nic.queueCount ?? 0 }, (_, queue) => {
    const vector = (cpu: CpuId): number => vectorOf(kernel.requireModule().driver, cpu, queue);
    return {
      name: String(first + queue),
      description: `PCI-MSIX-0000:18:00.0 ${queue}-edge eth0-rx-${queue}`,
      counts: counts(vector),
    };
  });
  const local = LOCAL.map(([name, description, vector]) => ({ name, description, counts: counts(() => vector) }));
  return [...board, ...queues, ...local];
}

/** The vector by which a queue interrupts a CPU; 0, which no interrupt has, where it does not. */
function vectorOf(driver: NetDriver, cpu: CpuId, queue: number): number {
  const at = driver.queues(cpu).indexOf(queue);
  return at < 0 ? 0 : FIRST_DEVICE_VECTOR + at;
}

/** What there is on worker threads: no boards, no vectors. */
export function threadInterruptRows(cpus: readonly CpuReport[]): InterruptRow[] {
  return [
    { name: "LOC", description: "Local timer interrupts", counts: cpus.map((cpu) => cpu.timerInterrupts) },
    { name: "CAL", description: "Function call interrupts", counts: cpus.map((cpu) => cpu.ipisReceived) },
  ];
}

/** The rows as `/proc/interrupts` prints them. */
export function interruptsText(rows: readonly InterruptRow[]): string {
  const cpus = rows[0]?.counts.length ?? 0;
  const names = Math.max(3, ...rows.map(({ name }) => name.length));
  const header = " ".repeat(names + 1) + Array.from({ length: cpus }, (_, cpu) => `CPU${cpu}`.padStart(11)).join("");
  const lines = rows.map(
    ({ name, counts, description }) =>
      `${name.padStart(names)}:${counts.map((count) => String(count).padStart(11)).join("")}  ${description}`,
  );
  return `${[header, ...lines].join("\n")}\n`;
}
