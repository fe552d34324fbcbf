// One core of two: works through as many vectors as the board says whenever its turn comes.
import { workerData } from "node:worker_threads";
import { attachProxyConfigCell, Dataplane, PacketPool } from "@x/proxy-dataplane";
import { Rcu } from "@x/rcu";
import { CpuMask, WorkerHal } from "@x/smp";
import { pinThread } from "@x/smp/node";
import { echoLoop } from "./common.mjs";

const { cpu, handles, flows, board } = workerData;
// Each on a processor of its own from the start: the scheduler wakes both on that of the thread which wakes them.
pinThread(CpuMask.of(2, [cpu - 1]));
const hal = WorkerHal.attach(handles.hal, { cpu });
const rcu = Rcu.attach(handles.rcu, { hal });
rcu.online();
const pool = PacketPool.attach(handles.pool, { hal });
const config = attachProxyConfigCell(handles.config, { rcu });
const dataplane = Dataplane.attach(handles.dataplane, { hal, rcu, pool, config });
const { run } = echoLoop({ pool, dataplane, rcu, flows, first: cpu * flows });
const words = new Int32Array(board);

// board: 0 turn; of each CPU c: 16 * c vectors to do, 16 * c + 1 the turn that is done, 16 * c + 2 picoseconds of CPU time a packet took,
// where the engine tells (Node 23.9)
for (let turn = 0; ; turn++) {
  Atomics.store(words, 16 * cpu + 1, turn);
  Atomics.notify(words, 16 * cpu + 1);
  rcu.offline();
  Atomics.wait(words, 0, turn);
  rcu.online();
  const before = process.threadCpuUsage?.();
  let packets = 0;
  for (let i = words[16 * cpu]; i > 0; i--) packets += run();
  const used = process.threadCpuUsage?.(before) ?? { user: 0, system: 0 };
  if (packets > 0) words[16 * cpu + 2] = ((used.user + used.system) * 1e6) / packets;
}
