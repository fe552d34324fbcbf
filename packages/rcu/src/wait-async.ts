type WaitAsync = (
  words: Int32Array,
  index: number,
  expected: number,
  timeoutMs: number,
) => { readonly async: boolean; readonly value: string | Promise<string> };

/** ECMAScript 2024; missing in some browsers, where waiting becomes looking again now and then. */
const { waitAsync } = Atomics as { waitAsync?: WaitAsync };
const LOOK_AGAIN_MS = 5;
/** Longest delay of a timer. */
const FOR_EVER_MS = 2 ** 31 - 1;

type Timer = ReturnType<typeof setInterval>;

/** Resolved when the word is notified or the time is over, at once if it holds something else. Keeps no event loop alive. */
export async function notified(words: Int32Array, index: number, expected: number, timeoutMs: number): Promise<void> {
  if (waitAsync !== undefined) await waitAsync(words, index, expected, timeoutMs).value;
  else if (Atomics.load(words, index) === expected) await unrefTimeout(Math.min(LOOK_AGAIN_MS, timeoutMs));
}

/** The same for short times; keeps the event loop alive meanwhile, which waiting for shared memory does not. */
export async function notifiedOrTimeout(
  words: Int32Array,
  index: number,
  expected: number,
  timeoutMs: number,
): Promise<void> {
  let timer: Timer | undefined;
  try {
    await new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
      const result = waitAsync?.(words, index, expected, timeoutMs);
      if (result?.async === true) void (result.value as Promise<string>).then(() => resolve());
      else if (result !== undefined) resolve();
    });
  } finally {
    clearTimeout(timer);
  }
}

/** The next turn of the event loop, as soon as may be. */
export function nextTurn(): Promise<void> {
  const { setImmediate: immediately } = globalThis as { setImmediate?: (act: () => void) => unknown };
  return new Promise((resolve) => {
    if (immediately === undefined) setTimeout(resolve, 0);
    else immediately(resolve);
  });
}

/** Throw where nobody catches: what goes wrong in the background must not go unseen. */
export function throwUncaught(error: unknown): void {
  setTimeout(() => {
    throw error;
  }, 0);
}

/** A hold on the event loop, which ends when nothing holds it: in Node.js, Deno and Bun. */
export class KeepAlive {
  #timer: Timer | undefined;

  hold(): void {
    this.#timer ??= setInterval(() => undefined, FOR_EVER_MS);
  }

  release(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

function unrefTimeout(ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms) as unknown as { unref?: () => void };
    timer.unref?.();
  });
}
