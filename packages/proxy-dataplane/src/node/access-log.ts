import { close, fstat, openSync, stat, write } from "node:fs";

/** Lines that wait for the disk, at most; more are dropped, and counted. */
const MAX_WAITING_BYTES = 1 << 20;
/** How often it is looked whether the file is still the one of that name. */
const LOOK_MS = 2000;

/** What an access log counts, and whom it tells that it is at work outside of the engine. */
export interface AccessLogObserver {
  onLines(lines: number): void;
  onDropped(lines: number): void;
  hold(): void;
  release(): void;
}

/**
 * A file that several workers append whole lines to. When it is renamed or removed, as rotation does, a new one of the same name is begun
 * within {@link LOOK_MS}, or at once by `reopen`.
 */
export class AccessLog {
  readonly #path: string;
  readonly #observer: AccessLogObserver;
  readonly #nowMs: () => number;
  #fd: number;
  #lines: string[] = [];
  #bytes = 0;
  #isWriting = false;
  #isEnded = false;
  #lookedMs: number;

  /** Throws the system's error where the file cannot be opened. */
  constructor(path: string, observer: AccessLogObserver, nowMs: () => number) {
    this.#path = path;
    this.#observer = observer;
    this.#nowMs = nowMs;
    this.#lookedMs = nowMs();
    this.#fd = openSync(path, "a");
  }

  get path(): string {
    return this.#path;
  }

  /** Add a line, without its end. */
  line(text: string): void {
    if (this.#bytes + text.length > MAX_WAITING_BYTES) {
      this.#observer.onDropped(1);
      return;
    }
    this.#lines.push(text);
    this.#bytes += text.length + 1;
  }

  /** Write what has come together; call it now and then. */
  flush(): void {
    if (this.#isWriting || this.#isEnded) return;
    if (this.#nowMs() - this.#lookedMs > LOOK_MS) this.#look();
    if (this.#lines.length === 0) return;
    const count = this.#lines.length;
    const text = `${this.#lines.join("\n")}\n`;
    this.#lines = [];
    this.#bytes = 0;
    this.#write(Buffer.from(text), count);
  }

  /** Begin a new file of that name where the old one was renamed. */
  reopen(): void {
    if (this.#isEnded) return;
    const old = this.#fd;
    try {
      this.#fd = openSync(this.#path, "a");
    } catch {
      return; // The folder is gone: better the old file than none.
    }
    // What is being written now still goes to the old file.
    setTimeout(() => close(old, () => undefined), 1000).unref();
  }

  /** Write the rest and close. */
  async end(): Promise<void> {
    while (this.#isWriting || this.#lines.length > 0) {
      this.flush();
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    this.#isEnded = true;
    close(this.#fd, () => undefined);
  }

  #write(bytes: Uint8Array, lines: number): void {
    this.#isWriting = true;
    this.#observer.hold();
    write(this.#fd, bytes, 0, bytes.length, null, (error, written) => {
      this.#observer.release();
      this.#isWriting = false;
      if (error === null && written < bytes.length) return this.#write(bytes.subarray(written), lines);
      if (error === null) this.#observer.onLines(lines);
      else this.#observer.onDropped(lines);
    });
  }

  #look(): void {
    this.#lookedMs = this.#nowMs();
    this.#observer.hold();
    fstat(this.#fd, (_error, own) => {
      stat(this.#path, (missing, named) => {
        this.#observer.release();
        if (this.#isEnded || own === undefined) return;
        if (missing !== null || named.ino !== own.ino || named.dev !== own.dev) this.reopen();
      });
    });
  }
}
