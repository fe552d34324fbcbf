import type { Scenario } from "../experiment/scenario.ts";
import type { Firmware } from "../machine/firmware.ts";
import type { Machine } from "../machine/machine.ts";
import type { LogLine } from "./kernel-log.ts";
import type { Platform } from "./platform.ts";

/** What a kernel boots with. */
export interface KernelOptions {
  readonly machine: Machine;
  readonly firmware: Firmware;
  readonly platform: Platform;
  readonly scenario: Scenario;
  readonly mhz: number;
  readonly version: string;
  readonly onLine?: ((line: LogLine) => void) | undefined;
  /** Every packet leaves only headers in the receive buffers: these may be small. */
  readonly splitsAll: boolean;
}
