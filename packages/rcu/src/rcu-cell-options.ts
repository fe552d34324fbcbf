import type { SpinLocksHandle } from "@x/smp";
import type { Codec } from "./codec.ts";
import type { Rcu } from "./rcu.ts";

/**
 * What joins an {@link RcuCell} from another thread.
 *
 * @public
 */
export interface RcuCellHandle {
  readonly maxBytes: number;
  readonly slots: number;
  readonly memory: SharedArrayBuffer;
  readonly writers: SpinLocksHandle;
}

/**
 * What every thread that joins an {@link RcuCell} passes.
 *
 * @public
 */
export interface RcuCellJoin<T> {
  readonly rcu: Rcu;
  readonly codec: Codec<T>;
  /** Throws if a value must not be published. */
  readonly validate?: ((value: T) => void) | undefined;
}

/**
 * Options of {@link RcuCell.create}.
 *
 * @public
 */
export interface RcuCellOptions<T> extends RcuCellJoin<NoInfer<T>> {
  readonly initial: T;
  /** Largest encoded value. Default 4096. */
  readonly maxBytes?: number;
  /** Versions that can wait for their grace period, plus one; a power of two from 2. Default 8. */
  readonly slots?: number;
}
