import type { SymbolTable } from "@x/profiling";

/** Functions of the kernel as the profiler names them, after their Linux counterparts. */
const NAMES = {
  idle: "swapper",
  boot: "start_kernel",
  startSecondary: "start_secondary",
  timer: "sysvec_apic_timer_interrupt",
  tick: "scheduler_tick",
  callFunction: "sysvec_call_function",
  deviceInterrupt: "common_interrupt",
  softirq: "__do_softirq",
  netRx: "net_rx_action",
  poll: "ksim_nic_poll",
  refill: "ksim_nic_refill",
  transmit: "ksim_nic_xmit",
  schedule: "__schedule",
  rcu: "rcu_core",
  expire: "mutex_conn_gc",
  wakeup: "try_to_wake_up",
} as const;

export type SymbolName = keyof typeof NAMES;

/** Ids of the kernel's functions. */
export type KernelSymbols = Readonly<Record<SymbolName, number>>;

/** Register the kernel's functions. */
export function kernelSymbols(table: SymbolTable): KernelSymbols {
  return Object.fromEntries(Object.entries(NAMES).map(([key, name]) => [key, table.intern(name)])) as Record<
    SymbolName,
    number
  >;
}
