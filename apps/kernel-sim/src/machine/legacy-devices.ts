import type { Machine } from "./machine.ts";

/** Clock of the 8254 (Intel 8254 data sheet; 14.31818 MHz ÷ 12). */
const TIMER_HZ = 1_193_182;
/** Bytes of the 16550A's transmit queue (National Semiconductor PC16550D data sheet, section 8.6). */
export const SERIAL_FIFO_BYTES = 16;
/** 115200 baud, 10 bits for a byte. */
const SERIAL_BYTE_NS = 86_806;

/** Channel 0 of the 8254 interval timer, as rate generator (mode 2): a rising edge on its line every `divisor` clocks. */
export class IntervalTimer {
  readonly #machine: Machine;
  readonly #gsi: number;
  readonly #device: number;
  #periodNs = 0;
  #startedNs = 0;
  #generation = 0;

  constructor(machine: Machine, gsi: number) {
    this.#machine = machine;
    this.#gsi = gsi;
    this.#device = machine.connect({ event: (generation, count) => this.#tick(generation, count) });
  }

  /** Begin, at the executing CPU's time. */
  start(divisor: number): void {
    this.#periodNs = (divisor / TIMER_HZ) * 1e9;
    this.#startedNs = this.#machine.timeNs[this.#machine.current];
    this.#generation = (this.#generation + 1) & 0xffffff;
    this.#expect(1);
  }

  stop(): void {
    this.#generation = (this.#generation + 1) & 0xffffff;
  }

  #tick(generation: number, count: number): void {
    if (generation !== this.#generation) return;
    this.#machine.controllers.setLine(this.#gsi, false);
    this.#machine.controllers.setLine(this.#gsi, true);
    this.#expect(count + 1);
  }

  #expect(count: number): void {
    const atNs = this.#startedNs + Math.round(count * this.#periodNs);
    this.#machine.deviceEvent(this.#device, atNs, this.#generation, count);
  }
}

/** A 16550A that sends: bytes go into its queue, and when that is empty the line rises until the cause is read. */
export class SerialPort {
  /** All that has left on the wire. */
  sent = "";
  readonly #machine: Machine;
  readonly #gsi: number;
  readonly #device: number;
  #fifo = "";
  #interruptOn = false;

  constructor(machine: Machine, gsi: number) {
    this.#machine = machine;
    this.#gsi = gsi;
    this.#device = machine.connect({ event: () => this.#shifted() });
  }

  /** The interrupt enable register's bit for an empty transmitter; an empty queue interrupts at once. */
  enableInterrupt(on: boolean): void {
    this.#interruptOn = on;
    if (on && this.#fifo === "") this.#machine.controllers.setLine(this.#gsi, true);
  }

  /** Read the interrupt identification register, which takes the interrupt back. */
  readCause(): void {
    this.#machine.controllers.setLine(this.#gsi, false);
  }

  /** Write bytes to the empty queue, {@link SERIAL_FIFO_BYTES} at most. */
  write(text: string): void {
    this.#fifo = text;
    const atNs = this.#machine.timeNs[this.#machine.current] + text.length * SERIAL_BYTE_NS;
    this.#machine.deviceEvent(this.#device, atNs, 0, 0);
  }

  #shifted(): void {
    this.sent += this.#fifo;
    this.#fifo = "";
    if (this.#interruptOn) this.#machine.controllers.setLine(this.#gsi, true);
  }
}

/** Global system interrupts that the devices of a PC are wired to; undefined: the board does not have the device. */
export interface LegacyWires {
  readonly timerGsi: number | undefined;
  readonly serialGsi: number | undefined;
}

/** The devices that the board has: those whose interrupt an I/O APIC takes. */
export class LegacyDevices {
  readonly timer: IntervalTimer | undefined;
  readonly serial: SerialPort | undefined;

  constructor(machine: Machine, { timerGsi, serialGsi }: LegacyWires) {
    const has = (gsi: number | undefined): gsi is number => gsi !== undefined && machine.controllers.has(gsi);
    if (has(timerGsi)) this.timer = new IntervalTimer(machine, timerGsi);
    if (has(serialGsi)) this.serial = new SerialPort(machine, serialGsi);
  }
}
