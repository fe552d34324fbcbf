// Calls are between threads that have a processor each: left to itself, the host's scheduler often wakes a thread on that of its waker, and
// then it is the scheduler that is measured.
import { cpus } from "node:os";
import { CpuMask } from "@x/smp";
import { pinThread } from "@x/smp/node";

/** Pin the calling thread to one of the first two processors of the host; nothing where there is one, or no `taskset`. */
export function takeProcessor(cpu) {
  if (cpus().length > 1) pinThread(CpuMask.of(2, [cpu]));
}
