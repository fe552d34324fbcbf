/** What the fallback order needs to know of a node. */
export interface FallbackNode {
  readonly id: number;
  readonly hasCpus: boolean;
  readonly hasMemory: boolean;
}

/**
 * For every node the nodes an allocation may come from: those with memory, the node itself first, then by distance.
 *
 * Ties are broken as Linux does (`find_next_best_node`, `build_zonelists` in mm/page_alloc.c): a node after this one
 * before a node below it, one without CPUs before one with CPUs, then the one that fewest nodes have so far put first in a
 * group of equal distance, then the lower id. Linux adds the first two to the distance, so that they can outweigh a
 * difference of 1 or 2; here distance comes first always.
 *
 * `nodes` must be in ascending order of id: Linux builds the lists in that order, and the load depends on it.
 */
export function fallbackOrder(
  nodes: readonly FallbackNode[],
  distance: (from: number, to: number) => number,
): Map<number, number[]> {
  const load = new Map<number, number>(nodes.map((node) => [node.id, 0]));
  const order = new Map<number, number[]>();
  for (const from of nodes) order.set(from.id, listFor(from, nodes, distance, load));
  return order;
}

function listFor(
  from: FallbackNode,
  nodes: readonly FallbackNode[],
  distance: (from: number, to: number) => number,
  load: Map<number, number>,
): number[] {
  const rank = (node: FallbackNode): readonly number[] => [
    distance(from.id, node.id),
    (node.id < from.id ? 1 : 0) + (node.hasCpus ? 1 : 0),
    load.get(node.id) ?? 0,
    node.id,
  ];
  const others = nodes
    .filter((node) => node.hasMemory && node.id !== from.id)
    .map(rank)
    .sort(compareRanks);
  let previous = distance(from.id, from.id);
  for (const [far, , , id] of others) {
    // The first node of every group of equal distance carries the load of that group.
    if (far !== previous) load.set(id, (load.get(id) ?? 0) + 1);
    previous = far;
  }
  const ids = others.map((rank) => rank[3]);
  return from.hasMemory ? [from.id, ...ids] : ids;
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return 0;
}
