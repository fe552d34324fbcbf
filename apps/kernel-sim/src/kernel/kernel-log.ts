/** A line of the kernel's log. */
export interface LogLine {
  readonly timeNs: number;
  readonly text: string;
}

/** The kernel's log: `printk` with virtual time. */
export class KernelLog {
  readonly lines: LogLine[] = [];
  readonly #now: () => number;
  readonly #onLine: ((line: LogLine) => void) | undefined;

  constructor(now: () => number, onLine?: (line: LogLine) => void) {
    this.#now = now;
    this.#onLine = onLine;
  }

  print(text: string): void {
    const line = { timeNs: this.#now(), text };
    this.lines.push(line);
    this.#onLine?.(line);
  }

  /** As `dmesg` prints it. */
  text(): string {
    return this.lines.map((line) => `${formatLine(line)}\n`).join("");
  }
}

/** `[    0.000000] text`: seconds in five places, microseconds in six. */
export function formatLine({ timeNs, text }: LogLine): string {
  const microseconds = Math.floor(timeNs / 1000);
  const seconds = Math.floor(microseconds / 1e6);
  return `[${String(seconds).padStart(5)}.${String(microseconds % 1e6).padStart(6, "0")}] ${text}`;
}
