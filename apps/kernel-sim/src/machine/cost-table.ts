/**
 * What things cost on the emulated machine, in whole nanoseconds (whole, so that V8 passes them around unboxed). Production code holds no cost numbers: the emulator charges
 * the events that the packages' observers report.
 *
 * Memory latencies are those of a two-socket server of about 2.4 GHz, order of magnitude from Intel's Memory Latency
 * Checker and from Molka et al., "Cache Coherence Protocol and Memory Performance of the Intel Haswell-EP
 * Architecture" (ICPP 2015); interrupt and context-switch costs from lmbench-like measurements in the literature (Li,
 * Ding and Shen, "Quantifying the Cost of Context Switch", 2007). A page walk takes some tens of cycles where the tables are
 * cached (Bhattacharjee, "Large-Reach Memory Management Unit Caches", MICRO 2013); INVLPG about 100 ns (Linux,
 * Documentation/arch/x86/tlb.rst). Compute costs of the data path are cycles per packet
 * of the stages of a software switch (order of 50 to 150 cycles per graph node, Barach et al., "High-Speed Software
 * Data Plane via Vectorized Packet Processing", 2018).
 */
export interface CostTable {
  /** Hit in the CPU's own cache. */
  readonly cacheHitNs: number;
  /** Line taken from another CPU's cache on the same node. */
  readonly cacheTransferNs: number;
  /** Line found in the last-level cache of the CPU's node (where the NIC puts packets). */
  readonly lastLevelHitNs: number;
  /** DRAM on the CPU's own node. Other nodes: times distance ÷ 10. */
  readonly dramNs: number;
  /** Taking an interrupt: vectoring, saving and restoring state. */
  readonly interruptNs: number;
  /** Writing a local APIC register. */
  readonly apicWriteNs: number;
  /** From the sender's ICR write to the target's interrupt. */
  readonly ipiLatencyNs: number;
  /** Context switch, direct cost. */
  readonly contextSwitchNs: number;
  /** Scheduler tick handler. */
  readonly tickNs: number;
  /** One pass of NAPI polling, beside its packets. */
  readonly napiPollNs: number;
  /** Descriptor work per received packet. */
  readonly receivePacketNs: number;
  /** Descriptor work per transmitted packet. */
  readonly transmitPacketNs: number;
  /** Start-up code of an application processor until it is online. */
  readonly processorStartNs: number;
  /** A translation that only the second level of the TLB has. */
  readonly tlbSecondLevelNs: number;
  /** Walking the page tables on a TLB miss, their upper levels being cached. */
  readonly pageWalkNs: number;
  /** Invalidating the translation of one page, and those of a whole address space. */
  readonly tlbFlushPageNs: number;
  readonly tlbFlushAllNs: number;
  /** An uncontended atomic read-modify-write. */
  readonly atomicNs: number;
  /** Compute cost per packet of each stage of the data path, by the stage's name. */
  readonly stageNs: Readonly<Record<string, number>>;
}

/** The default costs. */
export const DEFAULT_COSTS: CostTable = {
  cacheHitNs: 2,
  cacheTransferNs: 50,
  lastLevelHitNs: 20,
  dramNs: 85,
  interruptNs: 600,
  apicWriteNs: 40,
  ipiLatencyNs: 900,
  contextSwitchNs: 1500,
  tickNs: 800,
  napiPollNs: 150,
  receivePacketNs: 25,
  transmitPacketNs: 30,
  processorStartNs: 95_000,
  tlbSecondLevelNs: 3,
  pageWalkNs: 30,
  tlbFlushPageNs: 100,
  tlbFlushAllNs: 250,
  atomicNs: 8,
  stageNs: {
    receive: 10,
    parse: 35,
    hash: 15,
    lookup: 20,
    state: 20,
    route: 20,
    rewrite: 30,
    transmit: 15,
  },
};
