import { SymbolTable } from "@x/profiling";
import { joinAsCpu } from "@x/smp/node";
import { STAGE_NAMES } from "../kernel/cost-observers.ts";
import { kernelSymbols } from "../kernel/symbols.ts";
import { FarEnd, type FarEndHandle } from "../workload/far-end.ts";
import { attachCore, type CoreHandle } from "./core.ts";
import { CpuClock } from "./cpu-clock.ts";
import { CpuLoop } from "./cpu-loop.ts";
import { Programs, type ProgramsHandle } from "./programs.ts";
import { attachProxy, type ProxyHandle } from "./proxy.ts";
import { ReceivePath, stageObserver } from "./receive-path.ts";
import { ThreadRunner } from "./thread-runner.ts";

/** What every worker thread of a run is given. */
export interface WorkerOrders {
  readonly core: CoreHandle;
  readonly proxy: ProxyHandle;
  readonly programs: ProgramsHandle;
  readonly farEnd: FarEndHandle;
  readonly cardCpu: number;
  /** Worker threads: CPUs 0 to cpus - 1. */
  readonly cpus: number;
  readonly budget: number;
  readonly tickNs: number;
  readonly seed: number;
}

/** The thread of one CPU, from its start to the halt. */
function main(): void {
  const { hal, cpu, data: orders } = joinAsCpu<WorkerOrders>();
  const core = attachCore(orders.core, hal);
  const table = SymbolTable.attach(orders.core.profiler.symbols, { hal });
  const symbols = kernelSymbols(table);
  const stages = STAGE_NAMES.map((stage) => table.intern(`mutex_${stage}`));
  const clock = new CpuClock(core, cpu);
  const programs = new Programs(orders.programs, core.scheduler, hal);
  const observer = stageObserver(core, clock, stages, (on) => programs.connection(on));
  const proxy = attachProxy(orders.proxy, core, orders.seed, observer);
  const receive = new ReceivePath({
    core,
    proxy,
    farEnd: FarEnd.attach(orders.farEnd),
    clock,
    cpu,
    cardCpu: orders.cardCpu,
    queues: proxy.receive.filter((_, queue) => queue % orders.cpus === cpu),
    budget: orders.budget,
    symbols,
    firstStage: stages[0],
  });
  const runner = new ThreadRunner({
    core,
    cpu,
    clock,
    programs,
    symbols,
    groupSymbols: orders.programs.groups.map(({ name }) => table.intern(name)),
    interrupted: () => receive.pending || core.ipis.pending(),
  });
  const loop = new CpuLoop({ hal, core, cpu, clock, proxy, receive, runner, symbols, tickNs: orders.tickNs });
  if (cpu === 0) core.cpus.bringCpuOnline(0);
  else core.cpus.markOnline(cpu);
  loop.run();
}

main();
