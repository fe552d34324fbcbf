import type { Kernel } from "./kernel.ts";

/** ISA interrupt of the interval timer. */
const TIMER_IRQ = 0;
/** The divisor that Linux takes for 1000 interrupts a second. */
const DIVISOR = 1193;
/** What the divisor makes of it, in nanoseconds. */
const PERIOD_NS = (DIVISOR / 1_193_182) * 1e9;
/** Interrupts before the interval timer counts as working, and those that the others are measured with. */
const TRIES = 4;
const MEASURE = 10;

/** Frequencies that the kernel runs its timers by. */
export interface TimerRates {
  readonly apicHz: number;
  readonly tscHz: number;
}

/**
 * Measure the local APIC's timer and the time-stamp counter against the interval timer, whose interrupts come through the I/O
 * APIC. Yields "halt" to wait for an interrupt. A board without that timer is believed what its processors say of
 * themselves (CPUID, leaf 0x15).
 */
export function* calibrateTimers(kernel: Kernel): Generator<"halt", TimerRates> {
  const { machine, apic, irqs, log } = kernel;
  const { timer: intervalTimer } = machine.legacy;
  const seen = { ticks: 0, count: 0, tsc: 0 };
  const tick = (): void => {
    seen.ticks++;
    seen.count = apic.currentCount();
    seen.tsc = machine.readTsc();
  };
  if (intervalTimer === undefined || !irqs.requestIsa(TIMER_IRQ, "timer", tick)) {
    log.print("tsc: frequencies from CPUID leaf 0x15");
    return { apicHz: machine.apicTimerHz, tscHz: machine.tscHz };
  }
  const line = irqs.list().find(({ irq }) => irq === TIMER_IRQ)!;
  const { controller, pin } = kernel.ioApics.place(line.line.gsi);
  log.print(`..TIMER: vector=0x${line.vector.toString(16)} apic1=${controller} pin1=${pin} apic2=-1 pin2=-1`);
  apic.startCounting();
  intervalTimer.start(DIVISOR);
  while (seen.ticks < TRIES) yield "halt";
  const from = { ...seen };
  while (seen.ticks < TRIES + MEASURE) yield "halt";
  intervalTimer.stop();
  irqs.mask(TIMER_IRQ);
  apic.stopCounting();
  const seconds = (MEASURE * PERIOD_NS) / 1e9;
  const rates = {
    apicHz: Math.round((from.count - seen.count) / seconds),
    tscHz: Math.round((seen.tsc - from.tsc) / seconds),
  };
  report(kernel, rates);
  return rates;
}

function report({ log, machine, apic }: Kernel, { apicHz, tscHz }: TimerRates): void {
  if (machine.tscHz > 0) {
    log.print("tsc: Fast TSC calibration using PIT");
    log.print(`tsc: Detected ${(tscHz / 1e6).toFixed(3)} MHz processor`);
  } else {
    const perTick = apicHz * apic.divisor;
    log.print(
      `..... host bus clock speed is ${Math.floor(perTick / 1e6)}.${String(Math.floor((perTick % 1e6) / 100)).padStart(4, "0")} MHz.`,
    );
  }
}
