import { NumaError } from "../errors.ts";

/**
 * Where an allocation should come from.
 *
 * | kind | meaning |
 * |---|---|
 * | `any` | no wish: the default, the calling CPU's node and then the others by distance |
 * | `local` | the calling CPU's node is wished for, others by distance when it has none |
 * | `prefer` | `node` is wished for, others by distance when it has none |
 * | `strict` | `node` or nothing |
 *
 * @public
 */
export type AllocHint =
  | { readonly kind: "any" }
  | { readonly kind: "local" }
  | { readonly kind: "prefer"; readonly node: number }
  | { readonly kind: "strict"; readonly node: number };

const preferHints: AllocHint[] = [];
const strictHints: AllocHint[] = [];

/**
 * Hints made once, so that hot paths allocate nothing.
 *
 * @public
 */
export const AllocHint: {
  readonly any: AllocHint;
  readonly local: AllocHint;
  /** Throws `NUMA_INVALID_ARGUMENT` unless `node` is an integer from 0 to 65535. */
  preferNode(node: number): AllocHint;
  /** Throws `NUMA_INVALID_ARGUMENT` unless `node` is an integer from 0 to 65535. */
  strictNode(node: number): AllocHint;
} = {
  any: Object.freeze({ kind: "any" }),
  local: Object.freeze({ kind: "local" }),
  preferNode: (node) => (preferHints[node] ??= Object.freeze({ kind: "prefer", node: checked(node) })),
  strictNode: (node) => (strictHints[node] ??= Object.freeze({ kind: "strict", node: checked(node) })),
};

function checked(node: number): number {
  if (Number.isInteger(node) && node >= 0 && node < 65536) return node;
  throw new NumaError("NUMA_INVALID_ARGUMENT", `${node} is no node id`);
}
