import { CpuMask } from "./cpu-mask.ts";
import { CpuRequests, requestMemory } from "./cpu-requests.ts";
import { SmpError } from "./errors.ts";
import type { CpuId, Hal } from "./hal.ts";
import { IpiType, type IpiMailbox } from "./ipi-mailbox.ts";

/*
 * Words of a request:
 *
 *   0     function   its index                        initiator
 *   1     wanted     1: there is one target only      initiator
 *   2-3   argument   (double)                         initiator
 *   4-5   result     (double)                         the only target; read when it has acknowledged
 */
const FUNCTION = 0;
const RESULT_WANTED = 1;
const ARGUMENT = 2;
const RESULT = 4;

/**
 * A function that other CPUs may call: it runs on the CPU that is called, where that drains its mailbox.
 *
 * @public
 */
export type CrossFunction = (argument: number, from: CpuId) => number | void;

/**
 * What joins {@link CrossCalls} from another thread, along with the handle of its mailbox.
 *
 * @public
 */
export interface CrossCallsHandle {
  readonly memory: SharedArrayBuffer;
}

/**
 * What a thread brings along to {@link CrossCalls}.
 *
 * @public
 */
export interface CrossCallsOptions {
  readonly hal: Hal;
  /** Carries the calls, as messages of type `FunctionCall` with the calling CPU as payload. */
  readonly mailbox: IpiMailbox;
  /** Called by their index: every thread gives the same list, because functions do not travel between threads. */
  readonly functions: readonly CrossFunction[];
}

/**
 * Runs a function on other CPUs and knows when it has run (as Linux's `smp_call_function_many`).
 *
 * The handler that drains the mailbox passes messages of type `FunctionCall` to {@link CrossCalls.serve}. A CPU has one call
 * at a time under way, and must drain its own mailbox while it waits: two CPUs may call each other. A function that throws
 * counts as run, with result NaN, and throws where the mailbox is drained.
 *
 * Thread-safety: every method acts for the calling CPU, from any CPU. Cost: one message and one atomic subtraction for each
 * target; nothing is allocated.
 *
 * @public
 */
export class CrossCalls {
  readonly handle: CrossCallsHandle;
  readonly #hal: Hal;
  readonly #functions: readonly CrossFunction[];
  readonly #requests: CpuRequests;
  readonly #doubles: Float64Array;
  /** The targets of {@link CrossCalls.callOn}, while it begins. */
  readonly #target: CpuMask;

  private constructor(handle: CrossCallsHandle, options: CrossCallsOptions) {
    this.handle = handle;
    this.#hal = options.hal;
    this.#functions = options.functions;
    this.#requests = new CpuRequests(handle.memory, options.hal, options.mailbox, IpiType.FunctionCall);
    this.#doubles = new Float64Array(handle.memory);
    this.#target = new CpuMask(options.hal.possibleCpus);
  }

  static create(options: CrossCallsOptions): CrossCalls {
    return new CrossCalls({ memory: requestMemory(options.hal.possibleCpus) }, options);
  }

  static attach(handle: CrossCallsHandle, options: CrossCallsOptions): CrossCalls {
    return new CrossCalls(handle, options);
  }

  /**
   * Begin to call function number `index` on every CPU of `targets`; on the calling CPU, if it is one, at once. Poll until
   * {@link CrossCalls.poll} is true. Throws `SMP_CPU_STATE` while this CPU's last call is under way, and
   * `SMP_INVALID_ARGUMENT` for a function that is not there.
   */
  begin(targets: CpuMask, index: number, argument: number): void {
    const cpu = this.#hal.currentCpu();
    if (this.#functions[index] === undefined) {
      throw new SmpError("SMP_INVALID_ARGUMENT", `there is no function ${index} among ${this.#functions.length}`);
    }
    const request = this.#requests.prepare();
    this.#requests.words[request + FUNCTION] = index;
    this.#requests.words[request + RESULT_WANTED] = targets.count() === 1 ? 1 : 0;
    this.#doubles[(request + ARGUMENT) / 2] = argument;
    this.#doubles[(request + RESULT) / 2] = Number.NaN;
    this.#requests.publish(targets);
    if (targets.has(cpu)) this.#call(cpu);
  }

  /** Tell targets whose mailbox was full, and say whether the function has run on every target. */
  poll(): boolean {
    return this.#requests.poll();
  }

  /** What the function has returned on the only target of the calling CPU's last call; NaN where there were several. */
  result(): number {
    return this.#doubles[(this.#requests.requestOf(this.#hal.currentCpu()) + RESULT) / 2];
  }

  /**
   * {@link CrossCalls.begin} and spin until the function has run on every target.
   *
   * @param drain - drains the calling CPU's mailbox; called on every turn.
   */
  run(targets: CpuMask, index: number, argument: number, drain: () => void): void {
    this.begin(targets, index, argument);
    this.#requests.wait(drain);
  }

  /** {@link CrossCalls.run} on one CPU; returns what the function returned there. Throws `SMP_INVALID_CPU`. */
  callOn(cpu: CpuId, index: number, argument: number, drain: () => void): number {
    this.run(this.#target.clear().add(cpu), index, argument, drain);
    return this.result();
  }

  /** Serve a message of type `FunctionCall`: `initiator` is its payload. */
  serve(initiator: CpuId): void {
    try {
      this.#call(initiator);
    } finally {
      this.#requests.acknowledge(initiator);
    }
  }

  #call(initiator: CpuId): void {
    const request = this.#requests.requestOf(initiator);
    const { words } = this.#requests;
    const result = this.#functions[words[request + FUNCTION]](this.#doubles[(request + ARGUMENT) / 2], initiator);
    if (words[request + RESULT_WANTED] === 1) this.#doubles[(request + RESULT) / 2] = result ?? Number.NaN;
  }
}
