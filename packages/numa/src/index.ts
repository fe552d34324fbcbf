/**
 * NUMA topology from ACPI and sysfs, a per-node buddy page allocator and memory policies.
 *
 * @packageDocumentation
 */
export {};
