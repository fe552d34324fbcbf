import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CpuMask, MAX_CPUS, SmpError } from "@x/smp";
import { NumaError } from "../errors.ts";
import { NumaTopology, type NumaCpu, type NumaNode } from "../topology/numa-topology.ts";

/** The folder of CPUs and that of nodes, below a root, and what was odd so far. */
interface Tree {
  readonly root: string;
  readonly cpuFolder: string;
  readonly nodeFolder: string;
  readonly warnings: string[];
}

/** What the files of one node say. */
interface NodeFiles {
  readonly id: number;
  /** CPUs it claims, online or not. */
  readonly claimed: readonly number[];
  /** Undefined where the kernel does not tell. */
  readonly memoryBytes: number | undefined;
  readonly distances: readonly number[];
}

/**
 * The topology of a Linux machine as the files below `root`/sys/devices/system tell it. Ids are the kernel's.
 *
 * CPUs that nobody claims get node -1; nodes that claim the same CPU are kept as they are, with a warning, and the CPU goes
 * to the first. Where there are no node files there is one node 0 with everything. Throws `NUMA_SYSFS` when there are
 * neither CPUs nor nodes, or a file cannot be understood.
 *
 * @param root - a folder; empty or `/` for the host
 *
 * @public
 */
export function readSysfsTopology(root: string): NumaTopology {
  const system = join(root === "" ? "/" : root, "sys/devices/system");
  const tree: Tree = { root, cpuFolder: join(system, "cpu"), nodeFolder: join(system, "node"), warnings: [] };
  const files = numberedEntries(tree.nodeFolder, "node").map((id) => readNode(tree, id));
  const online = readCpus(tree, files);
  if (files.length === 0) return withoutNodes(tree, online);
  const nodeOfCpu = ownersOf(tree, files, online);
  const nodes = files.map((node) => makeNode(tree, node, files, online));
  const cpus: NumaCpu[] = [...online].map(([id, isOnline]) => ({
    id,
    node: nodeOfCpu.get(id) ?? -1,
    online: isOnline,
  }));
  return new NumaTopology({ nodes, cpus, warnings: tree.warnings });
}

/**
 * The topology of the machine this runs on, where it is Linux.
 *
 * @public
 */
export function readHostTopology(): NumaTopology {
  return readSysfsTopology("/");
}

/** Numbers N of the entries named `prefix`N, ascending. */
function numberedEntries(folder: string, prefix: string): number[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return [];
  }
  return names
    .filter((name) => name.startsWith(prefix) && /^\d{1,5}$/.test(name.slice(prefix.length)))
    .map((name) => Number(name.slice(prefix.length)))
    .sort((a, b) => a - b);
}

/** The text of a file, or undefined where it is absent or unreadable. */
function textOf(...path: string[]): string | undefined {
  try {
    return readFileSync(join(...path), "utf8");
  } catch {
    return undefined;
  }
}

/** The ids of a kernel list, `0-3,8`, of CPUs or nodes; undefined for other text. */
function parseIdList(text: string): number[] | undefined {
  return orUndefined(() => [...CpuMask.parseList(text.trim(), MAX_CPUS)]);
}

/** The ids of a kernel mask, `ff,ffffffff`; undefined for other text. */
function parseIdMask(text: string): number[] | undefined {
  return orUndefined(() => [...CpuMask.parseHex(text, MAX_CPUS)]);
}

function orUndefined(parse: () => number[]): number[] | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof SmpError) return undefined;
    throw error;
  }
}

function readNode(tree: Tree, id: number): NodeFiles {
  const folder = join(tree.nodeFolder, `node${id}`);
  const total = /MemTotal:\s*(\d+)\s*kB/.exec(textOf(folder, "meminfo") ?? "");
  return {
    id,
    claimed: claimedCpus(folder),
    memoryBytes: total === null ? undefined : Number(total[1]) * 1024,
    distances: readDistances(tree, folder),
  };
}

/** `cpumap`, else `cpulist`, else the links to CPUs. */
function claimedCpus(folder: string): readonly number[] {
  const map = textOf(folder, "cpumap");
  const list = textOf(folder, "cpulist");
  if (map === undefined && list === undefined) return numberedEntries(folder, "cpu");
  const ids = map === undefined ? undefined : parseIdMask(map);
  const claimed = ids ?? (list === undefined ? undefined : parseIdList(list));
  if (claimed !== undefined) return claimed;
  throw new NumaError("NUMA_SYSFS", "neither a CPU mask nor a CPU list", { file: join(folder, "cpumap") });
}

function readDistances(tree: Tree, folder: string): readonly number[] {
  const text = textOf(folder, "distance")?.trim();
  if (text === undefined || text === "") return [];
  const row = text.split(/\s+/).map(Number);
  if (row.every((distance) => Number.isInteger(distance) && distance >= 0)) return row;
  tree.warnings.push(`${join(folder, "distance")} is no row of distances; 10 and 20 are taken`);
  return [];
}

/** Every CPU and whether it is online: `cpuN/online`, absent means yes. */
function readCpus(tree: Tree, files: readonly NodeFiles[]): ReadonlyMap<number, boolean> {
  const ids = numberedEntries(tree.cpuFolder, "cpu");
  if (ids.length > 0) {
    return new Map(ids.map((id) => [id, textOf(tree.cpuFolder, `cpu${id}`, "online")?.trim() !== "0"]));
  }
  const list = parseIdList(textOf(tree.cpuFolder, "online") ?? "") ?? [];
  const known = list.length > 0 ? list : [...new Set(files.flatMap((node) => node.claimed))].sort((a, b) => a - b);
  if (known.length > 0 || files.length > 0) return new Map(known.map((id) => [id, true]));
  const message = "there are neither CPUs nor nodes below sys/devices/system";
  throw new NumaError("NUMA_SYSFS", message, { file: tree.root });
}

/** The machine whose kernel knows no NUMA. */
function withoutNodes(tree: Tree, online: ReadonlyMap<number, boolean>): NumaTopology {
  const total = /MemTotal:\s*(\d+)\s*kB/.exec(textOf(tree.root === "" ? "/" : tree.root, "proc/meminfo") ?? "");
  const cpus = [...online].filter(([, isOnline]) => isOnline).map(([id]) => id);
  const memoryBytes = total === null ? 0 : Number(total[1]) * 1024;
  return new NumaTopology({
    nodes: [{ id: 0, cpus, memory: [], memoryBytes, hasMemory: true, distances: {} }],
    cpus: [...online].map(([id, isOnline]) => ({ id, node: 0, online: isOnline })),
    warnings: [...tree.warnings, `there are no nodes in ${tree.nodeFolder}; everything is on node 0`],
  });
}

/** The node of every claimed CPU; the first claim counts. */
function ownersOf(
  tree: Tree,
  files: readonly NodeFiles[],
  online: ReadonlyMap<number, boolean>,
): ReadonlyMap<number, number> {
  const owners = new Map<number, number>();
  const twice = new Set<number>();
  for (const { id, claimed } of files) {
    for (const cpu of claimed) {
      if (!owners.has(cpu)) owners.set(cpu, id);
      else if (online.get(cpu) === true) twice.add(cpu);
    }
  }
  if (twice.size > 0) {
    const [first] = twice;
    tree.warnings.push(`nodes overlap: ${twice.size} CPUs (the first is ${first}) are claimed by more than one node`);
  }
  const orphans = [...online].filter(([cpu, isOnline]) => isOnline && !owners.has(cpu)).map(([cpu]) => cpu);
  if (orphans.length > 0) tree.warnings.push(`no node claims CPU ${orphans.join(", ")}`);
  return owners;
}

function makeNode(
  tree: Tree,
  node: NodeFiles,
  files: readonly NodeFiles[],
  online: ReadonlyMap<number, boolean>,
): NumaNode {
  const columns = columnsOf(tree, node.distances.length, files);
  const distances: Record<number, number> = {};
  for (const { id } of files) {
    const distance = node.distances[columns.indexOf(id)];
    if (distance !== undefined) distances[id] = distance;
  }
  return {
    id: node.id,
    cpus: node.claimed.filter((cpu) => online.get(cpu) === true),
    memory: [],
    memoryBytes: node.memoryBytes ?? 0,
    hasMemory: node.memoryBytes !== 0,
    distances,
  };
}

/**
 * Node id of every column of a `distance` row. The kernel prints one for each online node (drivers/base/node.c); a copied
 * tree may lack some of those nodes, so the lists of online and of possible nodes are tried too, then plain ids.
 */
function columnsOf(tree: Tree, length: number, files: readonly NodeFiles[]): readonly number[] {
  const ids = files.map((node) => node.id);
  if (ids.length === length) return ids;
  for (const name of ["online", "possible"]) {
    const listed = parseIdList(textOf(tree.nodeFolder, name) ?? "");
    if (listed !== undefined && listed.length === length) return listed;
  }
  const plain = Array.from({ length }, (_, id) => id);
  return length > ids[ids.length - 1] ? plain : ids;
}
