import { CodedError } from "@x/smp";

/**
 * Codes of {@link NumaError}.
 *
 * | code | meaning |
 * |---|---|
 * | `NUMA_INVALID_ARGUMENT` | a number out of range, an empty list |
 * | `NUMA_INVALID_NODE` | no node has this id |
 * | `NUMA_BAD_TABLE` | the table is of another kind than the decoder's |
 * | `NUMA_NO_MADT` | no MADT among the tables, so no CPUs |
 * | `NUMA_SYSFS` | a sysfs tree that is missing or cannot be read |
 * | `NUMA_BAD_OFFSET` | a freed offset that is no start of an allocated block |
 * | `NUMA_DOUBLE_FREE` | the block is free already |
 * | `NUMA_WRONG_ORDER` | freed with another size than it was allocated with |
 * | `NUMA_BAD_PAGE` | the id of no mapped page |
 * | `NUMA_PINNED` | a page that is pinned, or is not, contrary to what the call needs |
 * | `NUMA_CORRUPT` | the allocator's own records contradict each other |
 *
 * @public
 */
export type NumaErrorCode =
  | "NUMA_INVALID_ARGUMENT"
  | "NUMA_INVALID_NODE"
  | "NUMA_BAD_TABLE"
  | "NUMA_NO_MADT"
  | "NUMA_SYSFS"
  | "NUMA_BAD_OFFSET"
  | "NUMA_DOUBLE_FREE"
  | "NUMA_WRONG_ORDER"
  | "NUMA_BAD_PAGE"
  | "NUMA_PINNED"
  | "NUMA_CORRUPT";

/**
 * Errors of `@x/numa`.
 *
 * @public
 */
export class NumaError extends CodedError<NumaErrorCode> {}
