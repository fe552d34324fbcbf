import type { CostTable } from "./cost-table.ts";
import type { IoApicPlace } from "./io-apic-places.ts";
import type { LegacyWires } from "./legacy-devices.ts";

export interface MachineOptions {
  readonly cpus: readonly { readonly apicId: number; readonly node: number }[];
  readonly nodes: number;
  /** Distances as in the SLIT, row by row. */
  readonly distances: Float64Array;
  /** Bytes of modelled memory. */
  readonly memoryBytes: number;
  /** Cache of one CPU, a power of two of lines. */
  readonly cacheLines: number;
  readonly costs?: CostTable;
  /** Frequency of the local APIC's timer. */
  readonly apicTimerHz: number;
  readonly ioApics: readonly IoApicPlace[];
  readonly legacy: LegacyWires;
  /** Frequency of the time-stamp counter; 0: the local APICs' timers cannot wait for it. */
  readonly tscHz: number;
  /** Whether a processor answers a start-up interrupt; one that is broken does not. Default: all do. */
  readonly answersStartup?: ((cpu: number) => boolean) | undefined;
}
