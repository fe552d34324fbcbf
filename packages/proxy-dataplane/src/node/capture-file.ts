import { close, openSync, write, writeFileSync } from "node:fs";
import { DataplaneError } from "../errors.ts";
import { captureHeader, TrafficCapture } from "../relay/traffic-capture.ts";

/** Whom a capture's file tells. */
export interface CaptureFileObserver {
  onLost(): void;
  /** Writing failed; the capture ends there. */
  onError(error: string): void;
  hold(): void;
  release(): void;
}

/** Begin a capture's file. Throws `RELAY_OUTPUT`. */
export function beginCapture(path: string): void {
  try {
    writeFileSync(path, captureHeader());
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new DataplaneError("RELAY_OUTPUT", `cannot be written: ${code}`, { file: path }, { cause: error });
  }
}

/**
 * A worker's share of a capture: all workers append whole records to the file that the main thread has begun. Each worker's records
 * are in the order of time, those of several within one flush of each other.
 */
export class CaptureFile {
  readonly path: string;
  readonly traffic: TrafficCapture;
  readonly #observer: CaptureFileObserver;
  readonly #fd: number;
  #isWriting = false;
  #hasFailed = false;

  /** Throws the system's error where the file cannot be opened. */
  constructor(path: string, observer: CaptureFileObserver) {
    this.path = path;
    this.#observer = observer;
    this.traffic = new TrafficCapture(
      () => performance.timeOrigin + performance.now(),
      () => observer.onLost(),
    );
    this.#fd = openSync(path, "a");
  }

  /** Write what has come together; call it now and then. */
  flush(): void {
    if (this.#isWriting) return;
    const bytes = this.traffic.take();
    if (bytes !== undefined && !this.#hasFailed) this.#write(bytes);
  }

  /** Write the rest and close. */
  async end(): Promise<void> {
    this.flush();
    while (this.#isWriting) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      this.flush();
    }
    close(this.#fd, () => undefined);
  }

  #write(bytes: Uint8Array): void {
    this.#isWriting = true;
    this.#observer.hold();
    write(this.#fd, bytes, 0, bytes.length, null, (error, written) => {
      this.#observer.release();
      this.#isWriting = false;
      if (error === null && written < bytes.length) return this.#write(bytes.subarray(written));
      if (error === null) return;
      this.#hasFailed = true;
      this.#observer.onError(error.code ?? "EIO");
    });
  }
}
