/**
 * Largest number of nodes and of proximity domains: Linux on x86 with `CONFIG_NODES_SHIFT=10`, as distributions build it
 * (`MAX_NUMNODES`, and `MAX_PXM_DOMAINS` in include/acpi/acpi_numa.h).
 *
 * @public
 */
export const MAX_NUMA_NODES = 1024;

/**
 * Distance of a node to itself (ACPI 6.5, section 5.2.17).
 *
 * @public
 */
export const LOCAL_DISTANCE = 10;

/**
 * Distance between two nodes of which nothing is known (`REMOTE_DISTANCE` of Linux, include/linux/topology.h).
 *
 * @public
 */
export const REMOTE_DISTANCE = 20;

/**
 * Distance that says «not reachable» (ACPI 6.5, section 5.2.17).
 *
 * @public
 */
export const UNREACHABLE_DISTANCE = 255;

/**
 * Orders a block can have are 0 to this: the largest block has 2^20 pages. Linux's default largest order is 10.
 *
 * @public
 */
export const MAX_PAGE_ORDER = 20;
