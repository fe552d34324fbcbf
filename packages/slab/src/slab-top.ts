import type { KmemCache } from "./kmem-cache.ts";
import type { SlabStats } from "./options.ts";

const percent = (part: number, whole: number): number => (whole === 0 ? 100 : (100 * part) / whole);
const kib = (bytes: number): string => `${(bytes / 1024).toFixed(2)}K`;
const label = (text: string): string => ` ${text.padEnd(35)}: `;

function head(all: readonly SlabStats[]): string {
  const sum = (of: (stats: SlabStats) => number): number => all.reduce((total, stats) => total + of(stats), 0);
  const used = (part: number, whole: number, show: (value: number) => string = String): string =>
    `${show(part)} / ${show(whole)} (${percent(part, whole).toFixed(1)}%)\n`;
  const objects = sum((stats) => stats.totalObjects);
  const bytes = sum((stats) => stats.totalObjects * stats.objectSize);
  const active = all.filter((stats) => stats.activeObjects > 0).length;
  const sizes = all.map((stats) => stats.objectSize);
  const range = [Math.min(...sizes), objects === 0 ? 0 : bytes / objects, Math.max(...sizes)].map(kib).join(" / ");
  return (
    label("Active / Total Objects (% used)") +
    used(
      sum((stats) => stats.activeObjects),
      objects,
    ) +
    label("Active / Total Slabs (% used)") +
    used(
      sum((stats) => stats.slabs - stats.emptySlabs),
      sum((stats) => stats.slabs),
    ) +
    label("Active / Total Caches (% used)") +
    used(active, all.length) +
    label("Active / Total Size (% used)") +
    used(
      sum((stats) => stats.activeObjects * stats.objectSize),
      bytes,
      kib,
    ) +
    `${label("Minimum / Average / Maximum Object")}${range}\n`
  );
}

function line(stats: SlabStats): string {
  const use = `${Math.floor(percent(stats.activeObjects, stats.totalObjects))}%`;
  const cells = [
    String(stats.totalObjects).padStart(6),
    String(stats.activeObjects).padStart(6),
    use.padStart(4),
    kib(stats.objectSize).padStart(8),
    String(stats.slabs).padStart(6),
    String(stats.objectsPerSlab).padStart(8),
    `${(stats.slabs * stats.slabBytes) / 1024}K`.padStart(10),
  ];
  return `${cells.join(" ")} ${stats.name}\n`;
}

/**
 * The figures of caches as `slabtop --once` prints them, most objects first.
 *
 * @public
 */
export function slabTop(caches: Iterable<KmemCache>): string {
  const all = Array.from(caches, (cache) => cache.stats()).sort((a, b) => b.totalObjects - a.totalObjects);
  if (all.length === 0) return "";
  return `${head(all)}\n  OBJS ACTIVE  USE OBJ SIZE  SLABS OBJ/SLAB CACHE SIZE NAME\n${all.map(line).join("")}`;
}
