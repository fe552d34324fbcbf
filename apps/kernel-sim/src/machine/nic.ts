import type { Device, Machine } from "./machine.ts";

/*
 * One receive queue:
 *
 *            posted (buffers the driver gave)            completed (packets for the driver)
 *   ring   [ head ─────────────── tail )    ──arrive──▶  [ head ─────────────── tail )
 *
 * Both are rings of `ringSize` entries with running counts; the hardware moves buffers from the first to the second.
 */
class ReceiveQueue {
  readonly posted: Int32Array;
  readonly completed: Int32Array;
  postedHead = 0;
  postedTail = 0;
  completedHead = 0;
  completedTail = 0;
  /** The message that interrupts, as MSI-X has it for each queue. */
  messageAddress = 0;
  messageData = 0;
  interruptsOn = true;
  nextInterruptNs = 0;
  moderationPending = false;
  missed = 0;

  constructor(ringSize: number) {
    this.posted = new Int32Array(ringSize);
    this.completed = new Int32Array(ringSize);
  }
}

/** Puts one packet of the traffic into a receive buffer. */
export interface PacketSource {
  /** The hash the NIC computes over the packet's addresses and ports. */
  hash(packet: number): number;
  /** Copy the packet into the buffer; returns its bytes. */
  write(packet: number, buffer: number): number;
  /** Physical address of a buffer, for the coherence model. */
  address(buffer: number): number;
}

export interface NicOptions {
  readonly queues: number;
  readonly ringSize: number;
  /** Least time between two interrupts of a queue. */
  readonly moderationNs: number;
  /** Node of the slot it sits in. */
  readonly node: number;
}

/** Entries of the indirection table, as in Intel's 82599 data sheet, section 7.1.2.8. */
export const INDIRECTION_ENTRIES = 128;

/** Bytes of a buffer that takes headers only: what cards with header split offer (Intel 82599 data sheet, SRRCTL.BSIZEHEADER). */
export const HEADER_BUFFER_BYTES = 256;

/** The queue of each hash bucket when the queues share the buckets in turn. */
export function indirectionTable(queues: number): Uint16Array {
  return Uint16Array.from({ length: INDIRECTION_ENTRIES }, (_, entry) => entry % queues);
}

/** A multi-queue network card: receive-side scaling, one interrupt per queue with moderation, transmit. */
export class Nic implements Device {
  readonly queueCount: number;
  /** Descriptors of a receive queue. */
  readonly ringSize: number;
  /** Queue of each hash bucket; the driver may write it. */
  readonly indirection: Uint16Array;
  transmittedPackets = 0;
  transmittedBytes = 0;

  readonly #machine: Machine;
  readonly #queues: readonly ReceiveQueue[];
  readonly #moderationNs: number;
  readonly #node: number;
  readonly #device: number;
  readonly #ringMask: number;

  constructor(machine: Machine, options: NicOptions) {
    const ringSize = 2 ** Math.ceil(Math.log2(options.ringSize));
    this.#machine = machine;
    this.queueCount = options.queues;
    this.ringSize = ringSize;
    this.#ringMask = ringSize - 1;
    this.#moderationNs = options.moderationNs;
    this.#node = options.node;
    this.#queues = Array.from({ length: options.queues }, () => new ReceiveQueue(ringSize));
    this.indirection = indirectionTable(options.queues);
    this.#device = machine.connect(this);
  }

  /** Write a queue's entry of the MSI-X table: the message that it interrupts with. */
  setMessage(queue: number, address: number, data: number): void {
    this.#queues[queue].messageAddress = address;
    this.#queues[queue].messageData = data;
  }

  /** Give the hardware `buffers[0, count)`; returns how many the ring had room for. */
  post(queue: number, buffers: Int32Array, count: number): number {
    const q = this.#queues[queue];
    const { posted } = q;
    const mask = this.#ringMask;
    const taken = Math.min(count, mask + 1 - (q.postedTail - q.postedHead));
    for (let index = 0; index < taken; index++) posted[(q.postedTail + index) & mask] = buffers[index];
    q.postedTail += taken;
    return taken;
  }

  /** A packet comes off the wire; false when it is lost because the driver has posted no buffer. */
  receive(packet: number, source: PacketSource): boolean {
    const queue = this.indirection[source.hash(packet) & (INDIRECTION_ENTRIES - 1)];
    const q = this.#queues[queue];
    if (q.postedHead === q.postedTail) {
      q.missed++;
      return false;
    }
    const buffer = q.posted[q.postedHead++ & this.#ringMask];
    const bytes = source.write(packet, buffer);
    this.#machine.memory.deviceWrite(this.#node, source.address(buffer), bytes);
    q.completed[q.completedTail++ & this.#ringMask] = buffer;
    if (q.interruptsOn) this.#raise(queue, q);
    return true;
  }

  /** Take up to `limit` received buffers; returns how many. */
  take(queue: number, buffers: Int32Array, limit: number): number {
    const q = this.#queues[queue];
    const count = Math.min(limit, q.completedTail - q.completedHead);
    for (let index = 0; index < count; index++) buffers[index] = q.completed[q.completedHead++ & this.#ringMask];
    return count;
  }

  disableInterrupt(queue: number): void {
    this.#queues[queue].interruptsOn = false;
  }

  /** Interrupt again for packets from now on, and at once if some wait. */
  enableInterrupt(queue: number): void {
    const q = this.#queues[queue];
    q.interruptsOn = true;
    if (q.completedTail !== q.completedHead) this.#raise(queue, q);
  }

  /** Send packets of so many bytes together; they are read at once. */
  transmit(packets: number, bytes: number): void {
    this.transmittedPackets += packets;
    this.transmittedBytes += bytes;
  }

  /** No received packet waits for the driver. */
  get idle(): boolean {
    return this.#queues.every((q) => q.completedTail === q.completedHead);
  }

  /** Packets lost because the driver had posted no buffer, all queues. */
  get missed(): number {
    return this.#queues.reduce((sum, q) => sum + q.missed, 0);
  }

  #raise(queue: number, q: ReceiveQueue): void {
    const nowNs = this.#machine.nowNs;
    if (nowNs >= q.nextInterruptNs) {
      q.nextInterruptNs = nowNs + this.#moderationNs;
      this.#machine.controllers.fabric.deviceWrite(q.messageAddress, q.messageData);
    } else if (!q.moderationPending) {
      q.moderationPending = true;
      this.#machine.deviceEvent(this.#device, q.nextInterruptNs, queue, 0);
    }
  }

  /** The least time between two interrupts of a queue is over. */
  event(queue: number): void {
    const q = this.#queues[queue];
    q.moderationPending = false;
    if (q.interruptsOn && q.completedTail !== q.completedHead) this.#raise(queue, q);
  }
}
