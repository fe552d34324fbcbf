import { SERIAL_FIFO_BYTES, type SerialPort } from "../machine/legacy-devices.ts";

/** The driver of the serial console: text waits here and goes out as the port interrupts for more. */
export class SerialConsole {
  readonly #port: SerialPort;
  #waiting = "";
  #busy = false;

  constructor(port: SerialPort) {
    this.#port = port;
  }

  write(text: string): void {
    this.#waiting += text;
    if (this.#busy) return;
    this.#busy = true;
    this.#port.enableInterrupt(true);
  }

  /** The port has sent what it had. */
  readonly interrupt = (): void => {
    this.#port.readCause();
    if (this.#waiting === "") {
      this.#busy = false;
      this.#port.enableInterrupt(false);
      return;
    }
    this.#port.write(this.#waiting.slice(0, SERIAL_FIFO_BYTES));
    this.#waiting = this.#waiting.slice(SERIAL_FIFO_BYTES);
  };
}
