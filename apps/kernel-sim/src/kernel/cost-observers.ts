import type { FlowTableObserver } from "@x/perf-cache";
import { Stage, type DataplaneObserver, type FlowCacheObserver } from "@x/proxy-dataplane";
import type { CostTable } from "../machine/cost-table.ts";
import type { Machine } from "../machine/machine.ts";

/** Stages by number, as the cost table and the profiler name them. */
export const STAGE_NAMES = ["receive", "parse", "hash", "lookup", "state", "route", "rewrite", "transmit"] as const;

/** What the data path's observer needs beyond the machine. */
export interface StageHooks {
  readonly stageSymbols: readonly number[];
  /** The function the CPU is in, below those on its stack; 0 for none. */
  readonly setLeaf: (symbol: number) => void;
  /** Address of the packet pool and of connections. */
  readonly packetBase: number;
  readonly connectionBase: number;
  readonly onCreated: () => void;
}

/**
 * Charges what the data path reports. Each stage's end charges its cost and names the function of the next, so that samples
 * and touches fall to the stage that is under way; what the first stage touches counts to the driver.
 */
export function dataplaneObserver(machine: Machine, hooks: StageHooks): DataplaneObserver {
  const { stageSymbols, setLeaf, packetBase, connectionBase, onCreated } = hooks;
  const costs = stageCosts(machine.costs);
  return {
    onStage(_cpu, stage, packets): void {
      machine.charge(costs[stage] * packets);
      setLeaf(stage === Stage.Transmit ? 0 : stageSymbols[stage + 1]);
    },
    onConnection(_cpu, _connection, created): void {
      if (created) onCreated();
    },
    onTouch(offset, bytes, write, kind): void {
      machine.touchRange((kind === 0 ? packetBase : connectionBase) + offset, bytes, write);
    },
  };
}

function stageCosts(costs: CostTable): Float64Array {
  return Float64Array.from(STAGE_NAMES, (name) => costs.stageNs[name] ?? 0);
}

/** Charges the lines that look-ups in the flow table touch. */
export function flowTableObserver(machine: Machine, base: number): FlowTableObserver {
  return {
    onBucket: (offset) => machine.touch(base + offset, false),
    onProbe: (entry) => machine.touch(base + entry, false),
    onInsert: (entry) => machine.touch(base + entry, true),
    onDelete: (entry) => machine.touch(base + entry, true),
  };
}

/** Charges the set of the connection cache that a look-up reads. */
export function cacheObserver(machine: Machine, base: () => number): FlowCacheObserver {
  return { onProbe: (_cpu, offset) => machine.touch(base() + offset, false) };
}
