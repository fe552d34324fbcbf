import { KeepAlive, notified, throwUncaught } from "./wait-async.ts";

/**
 * Options of {@link RcuCell.onUpdate}.
 *
 * @public
 */
export interface RcuCellSubscriptionOptions {
  /** Whether the event loop goes on for its sake. Default true. */
  readonly keepAlive?: boolean;
  /** The listener threw, or a version could not be decoded. Default: thrown where nothing catches it. */
  readonly onError?: (error: unknown) => void;
}

/**
 * A listener for new versions of an {@link RcuCell}. Dispose to end it.
 *
 * @public
 */
export interface RcuCellSubscription extends Disposable {
  /** The event loop goes on for its sake. */
  ref(): this;
  /** The event loop may end in spite of it. */
  unref(): this;
}

export interface CellSubscriptionsOptions<T> {
  readonly words: Int32Array;
  /** Index of the version. */
  readonly version: number;
  /** Index of the number of threads that wait for it. */
  readonly waiters: number;
  /** End every wait for the version, here and elsewhere. */
  readonly wake: () => void;
  readonly latest: () => LatestVersion<T>;
}

export interface LatestVersion<T> {
  readonly value: T;
  readonly version: number;
}

/** A writer that dies between publishing and telling is made up for by looking this often. */
const LOOK_MS = 1000;

/** The listeners of one cell on this thread, and the one wait that serves them all. */
export class CellSubscriptions<T> {
  readonly #options: CellSubscriptionsOptions<T>;
  readonly #listeners = new Set<Listener<T>>();
  #running = false;

  constructor(options: CellSubscriptionsOptions<T>) {
    this.#options = options;
  }

  add(listener: (value: T, version: number) => void, options: RcuCellSubscriptionOptions): RcuCellSubscription {
    const added = new Listener(listener, options, this.#version(), (ended) => this.#remove(ended));
    this.#listeners.add(added);
    if (!this.#running) void this.#run();
    return added;
  }

  async next(seen: number): Promise<number> {
    const keepAlive = new KeepAlive();
    keepAlive.hold();
    try {
      while (this.#version() === seen) await this.#changed(seen);
      return this.#version();
    } finally {
      keepAlive.release();
    }
  }

  #version(): number {
    return Atomics.load(this.#options.words, this.#options.version) >>> 0;
  }

  async #changed(seen: number): Promise<void> {
    const { words, version, waiters } = this.#options;
    Atomics.add(words, waiters, 1);
    try {
      await notified(words, version, seen | 0, LOOK_MS);
    } finally {
      Atomics.sub(words, waiters, 1);
    }
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#listeners.size !== 0) {
      const version = this.#version();
      for (const listener of this.#listeners) listener.tell(version, this.#options.latest);
      if (this.#listeners.size !== 0) await this.#changed(version);
    }
    this.#running = false;
  }

  /** The last one gone: the wait, which cannot be called off, is ended by a notification without a change. */
  #remove(listener: Listener<T>): void {
    this.#listeners.delete(listener);
    if (this.#listeners.size === 0) this.#options.wake();
  }
}

class Listener<T> implements RcuCellSubscription {
  readonly #listener: (value: T, version: number) => void;
  readonly #onError: (error: unknown) => void;
  readonly #end: (ended: Listener<T>) => void;
  readonly #keepAlive = new KeepAlive();
  #told: number;
  #ended = false;

  constructor(
    listener: (value: T, version: number) => void,
    options: RcuCellSubscriptionOptions,
    told: number,
    end: (ended: Listener<T>) => void,
  ) {
    this.#listener = listener;
    this.#onError = options.onError ?? throwUncaught;
    this.#told = told;
    this.#end = end;
    if (options.keepAlive !== false) this.#keepAlive.hold();
  }

  tell(seen: number, latest: () => LatestVersion<T>): void {
    if (this.#ended || seen === this.#told) return;
    this.#told = seen;
    try {
      const { value, version } = latest();
      this.#told = version;
      this.#listener(value, version);
    } catch (error) {
      this.#onError(error);
    }
  }

  ref(): this {
    if (!this.#ended) this.#keepAlive.hold();
    return this;
  }

  unref(): this {
    this.#keepAlive.release();
    return this;
  }

  [Symbol.dispose](): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#keepAlive.release();
    this.#end(this);
  }
}
