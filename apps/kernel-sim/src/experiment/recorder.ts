import { CaptureWriter, type Capture, type PacketPool } from "@x/proxy-dataplane";
import type { Wire } from "../kernel/net-driver.ts";
import type { Machine } from "../machine/machine.ts";

interface Sent {
  readonly timeNs: number;
  readonly bytes: Uint8Array;
  readonly wireLength: number;
  readonly linkType: number;
}

/** Between the machine and the network: keeps a copy of each packet that leaves, with the moment it left. */
export class Recorder implements Wire {
  readonly #wire: Wire;
  readonly #machine: Machine;
  readonly #pool: PacketPool;
  readonly #sent: Sent[] = [];

  constructor(wire: Wire, machine: Machine, pool: PacketPool) {
    this.#wire = wire;
    this.#machine = machine;
    this.#pool = pool;
  }

  get count(): number {
    return this.#sent.length;
  }

  transmitted(packet: number): void {
    const { bytes, columns } = this.#pool;
    const from = columns.offsets[packet];
    this.#sent.push({
      timeNs: this.#machine.timeNs[this.#machine.current],
      bytes: bytes.slice(from, from + columns.lengths[packet]),
      wireLength: columns.wireLengths[packet],
      linkType: columns.linkTypes[packet],
    });
    this.#wire.transmitted(packet);
  }

  departed(mark: number): void {
    this.#wire.departed(mark);
  }

  /** The file: in order of time, which CPUs do not keep among each other; times count from the capture's first packet. */
  file({ startSeconds, startNanoseconds, linkTypes }: Capture): Uint8Array {
    const sent = [...this.#sent].sort((a, b) => a.timeNs - b.timeNs);
    const writer = new CaptureWriter({ linkTypes: [...new Set(linkTypes)], startSeconds, startNanoseconds });
    const firstNs = sent[0]?.timeNs ?? 0;
    for (const { timeNs, bytes, wireLength, linkType } of sent) {
      writer.add(bytes, 0, bytes.length, { wireLength, linkType, timestampNs: timeNs - firstNs });
    }
    return writer.finish();
  }
}
