import { FLOW_KEY_IPV6, ToeplitzTable } from "@x/perf-cache";
import { rewriteEnds } from "@x/proxy-dataplane";
import { KEY_WORDS, type ConversationColumns } from "./conversations.ts";

/*
 * A chain is one conversation held by one client. By chain, in shared memory so that whoever transmits can write:
 *
 *   asked      tuple of the client's packets as they arrive, its two sides swapped (as `rewriteEnds` takes it)
 *   sent       tuple of the client's packets as they left the machine: where answers come from
 *   hashes     RSS hash of the client's packets, and of the answers
 */
const HASHES = 2;
/** Clients beyond the captured one have the captured address plus their number here: third octet, seventh group. */
const CLIENT_SHIFT_V4 = 8;
const CLIENT_SHIFT_V6 = 16;

/** What joins a {@link FarEnd} from another thread. */
export interface FarEndHandle {
  readonly columns: ConversationColumns;
  readonly clients: number;
  readonly asked: SharedArrayBuffer;
  readonly sent: SharedArrayBuffer;
  readonly hashes: SharedArrayBuffer;
}

/** The hosts on the other side of the cable: clients that are several, and servers that answer from where they were asked. */
export class FarEnd {
  readonly columns: ConversationColumns;
  readonly clients: number;
  readonly #asked: Int32Array;
  readonly #sent: Int32Array;
  readonly #hashes: Int32Array;
  readonly #toeplitz = new ToeplitzTable();
  readonly #reply = new Int32Array(KEY_WORDS);

  /** Join with `joined`; without it, introduce the clients. */
  constructor(columns: ConversationColumns, clients: number, joined?: FarEndHandle) {
    const chains = columns.conversations * clients;
    const shared = (words: number): SharedArrayBuffer => new SharedArrayBuffer(words * 4);
    this.columns = columns;
    this.clients = clients;
    this.#asked = new Int32Array(joined?.asked ?? shared(chains * KEY_WORDS));
    this.#sent = new Int32Array(joined?.sent ?? shared(chains * KEY_WORDS));
    this.#hashes = new Int32Array(joined?.hashes ?? shared(chains * HASHES));
    if (joined !== undefined) return;
    for (let conversation = 0; conversation < columns.conversations - 1; conversation++) {
      for (let client = 0; client < clients; client++) this.#introduce(conversation, client);
    }
  }

  /**
   * For the thread that transmits while another one addresses. Nobody locks: an answer is addressed after the packet it
   * answers departed, and the packets of one client in one conversation leave one CPU in order.
   */
  static attach(handle: FarEndHandle): FarEnd {
    return new FarEnd(handle.columns, handle.clients, handle);
  }

  get handle(): FarEndHandle {
    const buffer = (words: Int32Array): SharedArrayBuffer => words.buffer as SharedArrayBuffer;
    return {
      columns: this.columns,
      clients: this.clients,
      asked: buffer(this.#asked),
      sent: buffer(this.#sent),
      hashes: buffer(this.#hashes),
    };
  }

  /** The chain of a packet when `client` plays it. */
  chain(packet: number, client: number): number {
    return this.columns.conversation[packet] * this.clients + client;
  }

  /** Whether the packet belongs to a conversation with two ends. */
  isConversation(packet: number): boolean {
    return this.columns.conversation[packet] < this.columns.conversations - 1;
  }

  /** RSS hash of the packet as it will arrive. */
  hash(packet: number, client: number): number {
    if (!this.isConversation(packet)) return this.columns.hashes[packet];
    return this.#hashes[this.chain(packet, client) * HASHES + this.columns.isReply[packet]];
  }

  /** Give a captured packet, copied to `bytes[at …]`, the ends it has when `client` plays it. */
  address(packet: number, client: number, bytes: Uint8Array, at: number): void {
    if (!this.isConversation(packet)) return;
    const { columns } = this;
    const tuples = columns.isReply[packet] === 1 ? this.#sent : this.#asked;
    const network = at + columns.networkOffset[packet];
    const transport = at + columns.transportOffset[packet];
    const tuple = this.chain(packet, client) * KEY_WORDS;
    rewriteEnds(bytes, network, transport, columns.keys, packet * KEY_WORDS, tuples, tuple);
  }

  /** A packet left the machine: if a client sent it, see to whom it goes now. Returns whether that is news. */
  transmitted(packet: number, client: number, bytes: Uint8Array, at: number): boolean {
    const { columns } = this;
    if (!this.isConversation(packet) || columns.isReply[packet] === 1) return false;
    const chain = this.chain(packet, client);
    const sent = this.#sent;
    const tuple = chain * KEY_WORDS;
    const isIpv6 = (sent[tuple + 9] & FLOW_KEY_IPV6) !== 0;
    const destination = at + columns.networkOffset[packet] + (isIpv6 ? 24 : 16);
    let changed = 0;
    for (let word = 0; word < (isIpv6 ? 4 : 1); word++) {
      const value = wordAt(bytes, destination + word * 4);
      changed |= value ^ sent[tuple + 4 + word];
      sent[tuple + 4 + word] = value;
    }
    const ports = wordAt(bytes, at + columns.transportOffset[packet]);
    changed |= ports ^ sent[tuple + 8];
    sent[tuple + 8] = ports;
    if (changed !== 0) this.#hashReply(chain);
    return changed !== 0;
  }

  #introduce(conversation: number, client: number): void {
    const chain = conversation * this.clients + client;
    const tuple = chain * KEY_WORDS;
    const key = this.columns.keys.subarray(this.columns.first[conversation] * KEY_WORDS).slice(0, KEY_WORDS);
    const isIpv6 = (key[9] & FLOW_KEY_IPV6) !== 0;
    if (isIpv6) key[3] += client << CLIENT_SHIFT_V6;
    else key[0] += client << CLIENT_SHIFT_V4;
    this.#sent.set(key, tuple);
    this.#hashes[chain * HASHES] = this.#toeplitz.hashFlow(key, 0, true);
    swap(key, 0, this.#asked, tuple);
    this.#hashReply(chain);
  }

  #hashReply(chain: number): void {
    swap(this.#sent, chain * KEY_WORDS, this.#reply, 0);
    this.#hashes[chain * HASHES + 1] = this.#toeplitz.hashFlow(this.#reply, 0, true);
  }
}

/** The tuple of the packets that go the other way. */
function swap(from: Int32Array, at: number, to: Int32Array, out: number): void {
  for (let word = 0; word < 4; word++) {
    to[out + word] = from[at + 4 + word];
    to[out + 4 + word] = from[at + word];
  }
  to[out + 8] = (from[at + 8] << 16) | (from[at + 8] >>> 16);
  to[out + 9] = from[at + 9];
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
}
