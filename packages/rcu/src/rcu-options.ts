import { soloHal, type Hal } from "@x/smp";
import { RcuError } from "./errors.ts";
import { gracePeriodBytes } from "./grace-period-layout.ts";
import type { RcuObserver } from "./observer.ts";
import { newWasmMemory } from "./section-marks.ts";
import { SectionSites } from "./section-sites.ts";

const DEFAULT_CALLBACK_CAPACITY = 4096;
const MAX_CALLBACK_CAPACITY = 1 << 20;
/** Linux: RCU_CPU_STALL_TIMEOUT, 21 s. */
const DEFAULT_STALL_TIMEOUT_NS = 21e9;

/**
 * How readers are seen.
 *
 * - `qsbr`: a CPU that is online is a reader all the time, except at the moments it calls `quiescent`. Reading costs
 *   nothing. The CPU must announce often: at turn ends, at preemption points, before it blocks (or go offline).
 * - `memory-barrier`: a CPU is a reader only from `readLock` to `readUnlock`: an atomic store and a load, and an exchange. Nothing need be
 *   announced: for long computations, and for code that is called by others.
 * - `sleepable`: as `memory-barrier`, but sections may span `await` and overlap on one CPU, and end in any order: each is
 *   counted by itself, by two atomic additions (Linux: SRCU).
 *
 * @public
 */
export type RcuFlavour = "qsbr" | "memory-barrier" | "sleepable";

/**
 * Options of {@link Rcu.create}.
 *
 * @public
 */
export interface RcuOptions {
  /** The machine; the lone CPU when left out, which is then online from the start. */
  readonly hal?: Hal;
  /** Default `qsbr`. */
  readonly flavour?: RcuFlavour;
  readonly observer?: RcuObserver | undefined;
  /** Age of a grace period at which `onStall` is told, then again after each further such time. Default 21e9; `Infinity`: never. */
  readonly stallTimeoutNs?: number;
  /** Callbacks one CPU can have queued; a power of two from 2 to 2^20. Default 4096. */
  readonly callbackCapacity?: number;
  /**
   * Callbacks that one `quiescent` runs at most. Default Infinity; 0 leaves them to {@link Rcu.invokeCallbacks}, where a
   * long run of them does no harm.
   */
  readonly callbackLimit?: number;
  /**
   * Find mistakes, slowly: remember where sections began and callbacks were queued, for reports; overwrite old versions of cells by
   * {@link POISON_BYTE} when their grace period has ended, and nodes of lists before they are used again. Default false.
   */
  readonly debug?: boolean;
}

/**
 * What joins an {@link Rcu} from another thread.
 *
 * @public
 */
export interface RcuHandle {
  readonly possibleCpus: number;
  readonly flavour: RcuFlavour;
  readonly stallTimeoutNs: number;
  readonly callbackCapacity: number;
  readonly callbackLimit: number;
  readonly memory: SharedArrayBuffer;
  /** The same as a `WebAssembly.Memory`: flavour `memory-barrier`, where the engine has it. */
  readonly wasmMemory?: object | undefined;
  /** Where read sections began, in debug mode. */
  readonly sites: SharedArrayBuffer | undefined;
}

/**
 * Numbers of {@link Rcu.stats}. Callback counts are those of all CPUs, on all threads.
 *
 * @public
 */
export interface RcuStats {
  /** Grace periods that have ended. */
  readonly gracePeriods: number;
  readonly callbacksQueued: number;
  /** Callbacks run, or given up with their dead CPU. */
  readonly callbacksInvoked: number;
  readonly callbacksPending: number;
  readonly longestGracePeriodNs: number;
  /** Mean over all grace periods that have ended; 0 before the first. */
  readonly meanGracePeriodNs: number;
  /** Stall reports, see {@link RcuObserver.onStall}. */
  readonly stalls: number;
  /** CPUs that were asked to hurry, see {@link Rcu.expedite}. */
  readonly expedited: number;
}

/** Options as a handle with new memory. Throws `RCU_INVALID_ARGUMENT`. */
export function newHandle(options: RcuOptions): { readonly hal: Hal; readonly handle: RcuHandle } {
  const { hal = soloHal(), flavour = "qsbr", debug = false } = options;
  const { stallTimeoutNs = DEFAULT_STALL_TIMEOUT_NS, callbackCapacity = DEFAULT_CALLBACK_CAPACITY } = options;
  const { callbackLimit = Infinity } = options;
  check(
    flavour === "qsbr" || flavour === "memory-barrier" || flavour === "sleepable",
    `flavour is ${flavour as string}; qsbr, memory-barrier and sleepable exist`,
  );
  check(stallTimeoutNs > 0, `stallTimeoutNs is ${stallTimeoutNs}; it must be above 0`);
  check(callbackLimit >= 0, `callbackLimit is ${callbackLimit}; it must not be below 0`);
  const powerOfTwo = Number.isInteger(callbackCapacity) && (callbackCapacity & (callbackCapacity - 1)) === 0;
  check(
    powerOfTwo && callbackCapacity >= 2 && callbackCapacity <= MAX_CALLBACK_CAPACITY,
    `callbackCapacity is ${callbackCapacity}; a power of two from 2 to ${MAX_CALLBACK_CAPACITY} is needed`,
  );
  const { possibleCpus } = hal;
  const bytes = gracePeriodBytes(possibleCpus);
  const wasmMemory = flavour === "memory-barrier" ? newWasmMemory(bytes) : undefined;
  const memory = wasmMemory?.buffer ?? new SharedArrayBuffer(bytes);
  const sites = debug ? SectionSites.memory(possibleCpus) : undefined;
  return {
    hal,
    handle: { possibleCpus, flavour, stallTimeoutNs, callbackCapacity, callbackLimit, memory, wasmMemory, sites },
  };
}

function check(holds: boolean, message: string): void {
  if (!holds) throw new RcuError("RCU_INVALID_ARGUMENT", message);
}
