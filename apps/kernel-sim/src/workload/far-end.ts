import { FLOW_KEY_IPV6, ToeplitzTable } from "@x/perf-cache";
import { IpProtocol } from "@x/proxy-dataplane";
import { KEY_WORDS, type ConversationColumns } from "./conversations.ts";
import { deltas, DELTAS, ENDS_WORDS, EndsFlag, learnSource, memoryWord, PORTS, storeEnds } from "./ends.ts";
import type { PacketMemory } from "./ends.ts";

/*
 * A chain is one conversation held by one client. By chain, in shared memory so that whoever transmits can write, two cache
 * lines, the first for the client's packets, the second for the answers, which come from where the client's packets went:
 *
 *    0 …  9   ends of these packets as they arrive (see ends.ts)
 *   10        RSS hash of these packets
 *   11 … 15   free for whoever plays the traffic
 */
/** Words of a chain in {@link FarEnd.chains}. */
export const CHAIN_WORDS = 32;
/** First of the five words of each line of a chain that {@link FarEnd} leaves alone. */
export const CHAIN_SPARE = 11;
export const CHAIN_SPARE_2 = 27;
const REPLY = 16;
const HASH = ENDS_WORDS;
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
  /** By conversation and direction: the ends of its packets as captured. */
  readonly #captured: Int32Array;
  readonly #toeplitz = new ToeplitzTable();
  readonly #key = new Int32Array(KEY_WORDS);

  /** Join with `joined`; without it, introduce the clients. */
  constructor(columns: ConversationColumns, clients: number, joined?: FarEndHandle) {
    const bytes = columns.conversations * clients * CHAIN_WORDS * 4;
    this.columns = columns;
    this.clients = clients;
    this.chains = new Int32Array(joined?.chains ?? new SharedArrayBuffer(bytes));
    this.#captured = capturedEnds(columns);
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

  /** Give a captured packet, copied to `at` of the memory, the ends it has when `client` plays it. */
  address(packet: number, client: number, memory: PacketMemory, at: number): void {
    if (!this.isConversation(packet)) return;
    const { conversation, isReply, networkOffset, transportOffset } = this.columns;
    const chain = this.chain(packet, client);
    const flags = endsFlags(this.columns, conversation[packet]);
    this.addressIn(chain, isReply[packet], memory, at + networkOffset[packet], at + transportOffset[packet], flags);
  }

  /** {@link FarEnd.address} for a packet of a chain whose headers are at `network` and `transport`; {@link EndsFlag}. */
  addressIn(
    chain: number,
    isReply: number,
    memory: PacketMemory,
    network: number,
    transport: number,
    flags: number,
  ): void {
    storeEnds(memory, network, transport, flags, this.chains, chain * CHAIN_WORDS + isReply * REPLY);
  }

  /** A packet left the machine: if a client sent it, see to whom it goes now. Returns whether that is news. */
  transmitted(packet: number, client: number, memory: PacketMemory, at: number): boolean {
    const { conversation, isReply, networkOffset, transportOffset } = this.columns;
    if (!this.isConversation(packet) || isReply[packet] === 1) return false;
    const chain = this.chain(packet, client);
    const flags = endsFlags(this.columns, conversation[packet]);
    return this.transmittedIn(chain, memory, at + networkOffset[packet], at + transportOffset[packet], flags);
  }

  /** {@link FarEnd.transmitted} for a client's packet of a chain whose headers are at `network` and `transport`. */
  transmittedIn(chain: number, memory: PacketMemory, network: number, transport: number, flags: number): boolean {
    const ends = chain * CHAIN_WORDS + REPLY;
    if (!learnSource(memory, network, transport, flags, this.chains, ends)) return false;
    this.#complete((chain / this.clients) | 0, 1, ends);
    return true;
  }

  #introduce(conversation: number, client: number): void {
    const at = (conversation * this.clients + client) * CHAIN_WORDS;
    const { first, keys } = this.columns;
    const start = first[conversation] * KEY_WORDS;
    const key = keys.slice(start, start + KEY_WORDS);
    if ((key[9] & FLOW_KEY_IPV6) !== 0) key[3] += client << CLIENT_SHIFT_V6;
    else key[0] += client << CLIENT_SHIFT_V4;
    endsOfKey(key, this.chains, at);
    this.#complete(conversation, 0, at);
    endsOfKey(swapped(key), this.chains, at + REPLY);
    this.#complete(conversation, 1, at + REPLY);
  }

  /** Checksums and RSS hash follow from the ends at `at`. */
  #complete(conversation: number, isReply: number, at: number): void {
    const { chains } = this;
    const key = this.#key;
    const flags = endsFlags(this.columns, conversation);
    chains[at + DELTAS] = deltas(this.#captured, (conversation * 2 + isReply) * ENDS_WORDS, chains, at, flags);
    const addressWords = (flags & EndsFlag.Ipv6) === 0 ? 1 : 4;
    for (let word = 0; word < addressWords; word++) {
      key[word] = memoryWord(chains[at + word]);
      key[4 + word] = memoryWord(chains[at + addressWords + word]);
    }
    key[8] = memoryWord(chains[at + PORTS]);
    key[9] = addressWords === 1 ? 0 : FLOW_KEY_IPV6;
    chains[at + HASH] = this.#toeplitz.hashFlow(key, 0, true);
  }
}

/** Bits of {@link EndsFlag} of a conversation with two ends. */
export function endsFlags({ first, keys }: ConversationColumns, conversation: number): number {
  const meta = keys[first[conversation] * KEY_WORDS + 9];
  const isUdp = (meta & 0xff) === IpProtocol.Udp;
  return ((meta & FLOW_KEY_IPV6) === 0 ? 0 : EndsFlag.Ipv6) | (isUdp ? EndsFlag.Udp : 0);
}

function capturedEnds({ conversations, first, keys }: ConversationColumns): Int32Array {
  const ends = new Int32Array(conversations * 2 * ENDS_WORDS);
  for (let conversation = 0; conversation < conversations - 1; conversation++) {
    const start = first[conversation] * KEY_WORDS;
    const key = keys.subarray(start, start + KEY_WORDS);
    endsOfKey(key, ends, conversation * 2 * ENDS_WORDS);
    endsOfKey(swapped(key), ends, (conversation * 2 + 1) * ENDS_WORDS);
  }
  return ends;
}

/** The flow key of the packets that go the other way. */
function swapped(key: Int32Array): Int32Array {
  const ports = (key[8] << 16) | (key[8] >>> 16);
  return Int32Array.of(...key.subarray(4, 8), ...key.subarray(0, 4), ports, key[9]);
}

function endsOfKey(key: Int32Array, ends: Int32Array, at: number): void {
  const addressWords = (key[9] & FLOW_KEY_IPV6) === 0 ? 1 : 4;
  for (let word = 0; word < addressWords; word++) {
    ends[at + word] = memoryWord(key[word]);
    ends[at + addressWords + word] = memoryWord(key[4 + word]);
  }
  ends[at + PORTS] = memoryWord(key[8]);
}
