import { FLOW_KEY_IPV6, ToeplitzTable } from "@x/perf-cache";
import { rewriteEnds } from "@x/proxy-dataplane";
import { KEY_WORDS, type ConversationColumns } from "./conversations.ts";

/*
 * A chain is one conversation held by one client. By chain, in shared memory so that whoever transmits can write, two cache
 * lines, one for each direction:
 *
 *    0 …  9   tuple of the client's packets as they arrive, its two sides swapped (as `rewriteEnds` takes it)
 *   10        RSS hash of these packets
 *   11 … 15   free for whoever plays the traffic, as are 27 … 31
 *   16 … 25   tuple of the client's packets as they left the machine: where answers come from
 *   26        RSS hash of the answers
 */
/** Words of a chain in {@link FarEnd.chains}. */
export const CHAIN_WORDS = 32;
/** First of the five words of each line of a chain that {@link FarEnd} leaves alone. */
export const CHAIN_SPARE = 11;
export const CHAIN_SPARE_2 = 27;
const REPLY = 16;
const HASH = KEY_WORDS;
/** Clients beyond the captured one have the captured address plus their number here: third octet, seventh group. */
const CLIENT_SHIFT_V4 = 8;
const CLIENT_SHIFT_V6 = 16;

/** What joins a {@link FarEnd} from another thread. */
export interface FarEndHandle {
  readonly columns: ConversationColumns;
  readonly clients: number;
  readonly chains: SharedArrayBuffer;
}

/** The hosts on the other side of the cable: clients that are several, and servers that answer from where they were asked. */
export class FarEnd {
  readonly columns: ConversationColumns;
  readonly clients: number;
  /** {@link CHAIN_WORDS} words a chain. */
  readonly chains: Int32Array;
  /** By conversation and direction: the tuple of its packets as captured. */
  readonly #captured: Int32Array;
  readonly #toeplitz = new ToeplitzTable();
  readonly #reply = new Int32Array(KEY_WORDS);

  /** Join with `joined`; without it, introduce the clients. */
  constructor(columns: ConversationColumns, clients: number, joined?: FarEndHandle) {
    const bytes = columns.conversations * clients * CHAIN_WORDS * 4;
    this.columns = columns;
    this.clients = clients;
    this.chains = new Int32Array(joined?.chains ?? new SharedArrayBuffer(bytes));
    this.#captured = capturedTuples(columns);
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
    return { columns: this.columns, clients: this.clients, chains: this.chains.buffer as SharedArrayBuffer };
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
    return this.chainHash(this.chain(packet, client), this.columns.isReply[packet]);
  }

  /** RSS hash of the packets that go in a direction of a chain: 0 with the client's, 1 against them. */
  chainHash(chain: number, isReply: number): number {
    return this.chains[chain * CHAIN_WORDS + isReply * REPLY + HASH];
  }

  /** Give a captured packet, copied to `bytes[at …]`, the ends it has when `client` plays it. */
  address(packet: number, client: number, bytes: Uint8Array, at: number): void {
    if (!this.isConversation(packet)) return;
    const { isReply, networkOffset, transportOffset } = this.columns;
    const chain = this.chain(packet, client);
    this.addressIn(chain, isReply[packet], bytes, at + networkOffset[packet], at + transportOffset[packet]);
  }

  /** {@link FarEnd.address} for a packet of a chain whose headers are at `network` and `transport`. */
  addressIn(chain: number, isReply: number, bytes: Uint8Array, network: number, transport: number): void {
    const conversation = (chain / this.clients) | 0;
    const captured = (conversation * 2 + isReply) * KEY_WORDS;
    const tuple = chain * CHAIN_WORDS + isReply * REPLY;
    rewriteEnds(bytes, network, transport, this.#captured, captured, this.chains, tuple);
  }

  /** A packet left the machine: if a client sent it, see to whom it goes now. Returns whether that is news. */
  transmitted(packet: number, client: number, bytes: Uint8Array, at: number): boolean {
    const { isReply, networkOffset, transportOffset } = this.columns;
    if (!this.isConversation(packet) || isReply[packet] === 1) return false;
    const chain = this.chain(packet, client);
    return this.transmittedIn(chain, bytes, at + networkOffset[packet], at + transportOffset[packet]);
  }

  /** {@link FarEnd.transmitted} for a client's packet of a chain whose headers are at `network` and `transport`. */
  transmittedIn(chain: number, bytes: Uint8Array, network: number, transport: number): boolean {
    const { chains } = this;
    const tuple = chain * CHAIN_WORDS + REPLY;
    const isIpv6 = (chains[tuple + 9] & FLOW_KEY_IPV6) !== 0;
    const destination = network + (isIpv6 ? 24 : 16);
    let changed = 0;
    for (let word = 0; word < (isIpv6 ? 4 : 1); word++) {
      const value = wordAt(bytes, destination + word * 4);
      changed |= value ^ chains[tuple + 4 + word];
      chains[tuple + 4 + word] = value;
    }
    const ports = wordAt(bytes, transport);
    changed |= ports ^ chains[tuple + 8];
    chains[tuple + 8] = ports;
    if (changed !== 0) this.#hashReply(chain);
    return changed !== 0;
  }

  #introduce(conversation: number, client: number): void {
    const chain = conversation * this.clients + client;
    const at = chain * CHAIN_WORDS;
    const key = this.#captured.slice(conversation * 2 * KEY_WORDS).subarray(0, KEY_WORDS);
    const isIpv6 = (key[9] & FLOW_KEY_IPV6) !== 0;
    if (isIpv6) key[3] += client << CLIENT_SHIFT_V6;
    else key[0] += client << CLIENT_SHIFT_V4;
    this.chains.set(key, at + REPLY);
    this.chains[at + HASH] = this.#toeplitz.hashFlow(key, 0, true);
    swap(key, 0, this.chains, at);
    this.#hashReply(chain);
  }

  #hashReply(chain: number): void {
    const at = chain * CHAIN_WORDS + REPLY;
    swap(this.chains, at, this.#reply, 0);
    this.chains[at + HASH] = this.#toeplitz.hashFlow(this.#reply, 0, true);
  }
}

function capturedTuples({ conversations, first, keys }: ConversationColumns): Int32Array {
  const tuples = new Int32Array(conversations * 2 * KEY_WORDS);
  for (let conversation = 0; conversation < conversations - 1; conversation++) {
    const at = conversation * 2 * KEY_WORDS;
    const key = first[conversation] * KEY_WORDS;
    tuples.set(keys.subarray(key, key + KEY_WORDS), at);
    swap(keys, key, tuples, at + KEY_WORDS);
  }
  return tuples;
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
