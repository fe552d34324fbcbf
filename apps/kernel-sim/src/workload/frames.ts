import type { Capture } from "@x/proxy-dataplane";
import { SimError } from "../errors.ts";
import { MAX_PACKETS } from "./marks.ts";

/**
 * The capture's packets, each at an address that is a multiple of 8: copies into packet buffers then go word by word,
 * where V8 copies unaligned bytes into shared memory one at a time. Views made once, because making one costs more than
 * copying a small packet. Throws `SIM_INPUT` for more packets than marks can name.
 */
export function replayFrames({ count, bytes, offsets, lengths }: Capture): readonly Uint8Array[] {
  if (count > MAX_PACKETS) throw new SimError("SIM_INPUT", `holds ${count} packets; ${MAX_PACKETS} can be replayed`);
  const starts = new Float64Array(count + 1);
  for (let at = 0; at < count; at++) starts[at + 1] = starts[at] + Math.ceil(lengths[at] / 8) * 8;
  const copy = new Uint8Array(starts[count]);
  return Array.from({ length: count }, (_, at) => {
    copy.set(bytes.subarray(offsets[at], offsets[at] + lengths[at]), starts[at]);
    return copy.subarray(starts[at], starts[at] + lengths[at]);
  });
}
