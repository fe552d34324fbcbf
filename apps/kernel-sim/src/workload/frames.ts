import type { Capture } from "@x/proxy-dataplane";
import { SimError } from "../errors.ts";
import { MAX_PACKETS } from "./marks.ts";

const BEHIND_BYTES = 2;

/**
 * The capture's packets, each 2 bytes behind a multiple of 8, as packets lie in their buffers: copies then go word by word,
 * where V8 copies unaligned bytes into shared memory one at a time. Views made once, because making one costs more than
 * copying a small packet. Throws `SIM_INPUT` for more packets than marks can name.
 */
export function replayFrames({ count, bytes, offsets, lengths }: Capture): readonly Uint8Array[] {
  if (count > MAX_PACKETS) throw new SimError("SIM_INPUT", `holds ${count} packets; ${MAX_PACKETS} can be replayed`);
  const starts = new Float64Array(count + 1);
  starts[0] = BEHIND_BYTES;
  for (let at = 0; at < count; at++) starts[at + 1] = starts[at] + Math.ceil(lengths[at] / 8) * 8;
  const copy = new Uint8Array(starts[count]);
  return Array.from({ length: count }, (_, at) => {
    copy.set(bytes.subarray(offsets[at], offsets[at] + lengths[at]), starts[at]);
    return copy.subarray(starts[at], starts[at] + lengths[at]);
  });
}
