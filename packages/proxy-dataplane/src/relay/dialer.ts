import type { ConnectOptions, Endpoint, Engine, RelaySocket, SocketOwner } from "./engine.ts";
import { failureOfErrno, type RelayFailure } from "./failure.ts";
import { Timed, type TimerWheel } from "./timer-wheel.ts";

/** Attempts under way at once, at most. */
const MAX_ATTEMPTS = 4;

/** Who wants to be connected. One of the two is called, once. */
export interface DialOwner {
  onDialed(socket: RelaySocket): void;
  onDialFailed(failure: RelayFailure): void;
}

/**
 * Connects to the first of several addresses that answers: they are tried in turn, the next beside the others when one has failed or
 * some time has passed (RFC 8305). The winner's owner is to be set by `onDialed`; the losers are closed.
 */
export class Dialer extends Timed implements SocketOwner {
  readonly #engine: Engine;
  readonly #wheel: TimerWheel;
  readonly #owner: DialOwner;
  readonly #addresses: readonly Endpoint[];
  readonly #delayMs: number;
  readonly #options: ConnectOptions | undefined;
  readonly #attempts = new Set<RelaySocket>();
  #next = 0;
  #failure: RelayFailure = "unreachable";

  constructor(
    engine: Engine,
    wheel: TimerWheel,
    owner: DialOwner,
    addresses: readonly Endpoint[],
    delayMs: number,
    options?: ConnectOptions,
  ) {
    super();
    this.#engine = engine;
    this.#wheel = wheel;
    this.#owner = owner;
    this.#addresses = addresses;
    this.#delayMs = delayMs;
    this.#options = options;
  }

  start(): void {
    this.#attempt();
  }

  /** Give up; nobody is told. */
  cancel(): void {
    this.#wheel.clear(this);
    this.#next = this.#addresses.length;
    for (const socket of this.#attempts) socket.reset();
    this.#attempts.clear();
  }

  onDeadline(): void {
    this.#attempt();
  }

  onConnect(socket: RelaySocket): void {
    this.#attempts.delete(socket);
    this.cancel();
    this.#owner.onDialed(socket);
  }

  onClose(socket: RelaySocket, error: string): void {
    if (!this.#attempts.delete(socket)) return;
    this.#failure = failureOfErrno(error);
    if (this.#next < this.#addresses.length) this.#attempt();
    else if (this.#attempts.size === 0) this.#owner.onDialFailed(this.#failure);
  }

  onData(): void {}
  onEnd(): void {}
  onDrain(): void {}

  #attempt(): void {
    const to = this.#addresses[this.#next++];
    this.#attempts.add(this.#engine.connect(to, this, this.#options));
    const isMore = this.#next < this.#addresses.length && this.#attempts.size < MAX_ATTEMPTS;
    if (isMore) this.#wheel.set(this, this.#delayMs);
    else this.#wheel.clear(this);
  }
}
