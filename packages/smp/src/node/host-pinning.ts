import { spawnSync } from "node:child_process";
import { readFileSync, readlinkSync } from "node:fs";
import { CpuMask } from "../cpu-mask.ts";
import { MAX_CPUS } from "../layout.ts";

/**
 * What came of {@link pinThread}.
 *
 * @public
 */
export interface PinResult {
  /** Whether the host keeps the thread on the CPUs it was asked for. */
  readonly pinned: boolean;
  /** The host's CPUs that the thread may run on, as the host says; `undefined` where it does not say. */
  readonly hostCpus: CpuMask | undefined;
  /** Why it is not pinned, in one line; empty where it is. */
  readonly reason: string;
}

/**
 * Have the host run the calling thread on these of its CPUs only. On Linux, by `taskset` of util-linux, so that no native code is
 * needed; nothing happens elsewhere, nor where there is no `taskset` or none of the CPUs may be used, and the result says so. Other
 * threads of the process stay as they are. Does not throw. Cost: starts a program, some milliseconds.
 *
 * @public
 */
export function pinThread(hostCpus: CpuMask): PinResult {
  const thread = hostThread();
  if (thread === undefined)
    return { pinned: false, hostCpus: undefined, reason: "the host shows no /proc/thread-self" };
  const list = hostCpus.toList();
  const { error, status, stderr } = spawnSync("taskset", ["-pc", list, thread], { encoding: "utf8" });
  const allowed = allowedCpus();
  if (error !== undefined) return { pinned: false, hostCpus: allowed, reason: `taskset: ${error.message}` };
  if (status !== 0) return { pinned: false, hostCpus: allowed, reason: stderr.trim().replaceAll("\n", "; ") };
  const pinned = allowed !== undefined && allowed.toList() === list;
  return { pinned, hostCpus: allowed, reason: pinned ? "" : `the host allows CPUs ${allowed?.toList() ?? "unknown"}` };
}

/** The host's number of the calling thread. */
function hostThread(): string | undefined {
  try {
    return readlinkSync("/proc/thread-self").split("/").at(-1);
  } catch {
    return undefined;
  }
}

function allowedCpus(): CpuMask | undefined {
  try {
    const line = /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync("/proc/thread-self/status", "latin1"));
    return line === null ? undefined : CpuMask.parseList(line[1], MAX_CPUS);
  } catch {
    return undefined;
  }
}
