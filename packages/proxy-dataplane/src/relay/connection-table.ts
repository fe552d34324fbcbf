import { FlowTable, FLOW_KEY_IPV6, FLOW_KEY_WORDS, type FlowTableHandle } from "@x/perf-cache";
import type { Rcu } from "@x/rcu";
import { KmemCache, structLayout, type KmemCacheHandle } from "@x/slab";
import { soloHal, SpinLocks, type CpuId, type Hal } from "@x/smp";
import { parseAddress } from "../addresses.ts";
import type { Endpoint } from "./engine.ts";

const TEXT_BYTES = 64;
/** Brackets, a colon and five digits. */
const MAX_PORT_BYTES = 8;
const [OPENING_BRACKET, CLOSING_BRACKET, COLON, ZERO] = [0x5b, 0x5d, 0x3a, 0x30];

const LAYOUT = structLayout({
  id: "u32",
  cpu: "u32",
  state: "u32",
  listener: "u32",
  entry: "i32",
  clientTicket: "u32",
  userTicket: "u32",
  serverSlot: "u32",
  startMs: "f64",
  clientBytes: "f64",
  serverBytes: "f64",
  target: { bytes: TEXT_BYTES },
  upstream: { bytes: TEXT_BYTES },
  client: { bytes: TEXT_BYTES },
  user: { bytes: 32 },
});

/**
 * How far a connection is.
 *
 * @public
 */
export const RelayState = {
  Handshake: 0,
  Connecting: 1,
  UpstreamHandshake: 2,
  Relaying: 3,
  HalfClosed: 4,
  Waiting: 5,
  Datagrams: 6,
} as const;
/**
 * A value of {@link (RelayState:variable)}.
 *
 * @public
 */
export type RelayState = (typeof RelayState)[keyof typeof RelayState];

export const STATE_NAMES = [
  "handshake",
  "connecting",
  "upstream-handshake",
  "relaying",
  "half-closed",
  "waiting",
  "datagrams",
] as const;

/**
 * A connection as listings show it.
 *
 * @public
 */
export interface RelayConnection {
  readonly id: number;
  readonly cpu: CpuId;
  readonly state: (typeof STATE_NAMES)[number];
  readonly listener: number;
  /** Milliseconds since 1970. */
  readonly startMs: number;
  readonly client: string;
  readonly target: string;
  readonly upstream: string;
  readonly user: string;
  /** As of the last deadline looked at, or the last listing. */
  readonly clientBytes: number;
  readonly serverBytes: number;
}

/** What a connection holds of counts that all workers share. */
export interface HeldCounts {
  /** Of `ClientLimits`; 0 is none. */
  readonly tickets: readonly number[];
  /** Of `PolicyEngine`; 0 is none. */
  readonly serverSlot: number;
  readonly isDatagrams: boolean;
}

/** What joins a {@link ConnectionTable} from another thread. */
export interface ConnectionTableHandle {
  readonly flows: FlowTableHandle;
  readonly objects: KmemCacheHandle;
  readonly count: SharedArrayBuffer;
  readonly capacity: number;
}

/** `protocol` of connections whose ends are no addresses, or whose ends are taken: then the first words are a number. */
const NUMBERED = 255;

/**
 * Every open connection of every worker: an object of a slab cache, found by the ends of its client's connection in a flow table. The
 * worker that opened a connection writes it; anybody lists.
 *
 * Thread-safety: `open`, `describe`, `close` act for the calling CPU; `list` and `reap` from any.
 */
export class ConnectionTable {
  readonly handle: ConnectionTableHandle;
  readonly capacity: number;
  readonly #flows: FlowTable;
  readonly #objects: KmemCache;
  readonly #hal: Hal;
  readonly #fields;
  readonly #bytes: Uint8Array;
  readonly #count: Int32Array;
  readonly #key = new Int32Array(FLOW_KEY_WORDS);
  #serial = 0;

  private constructor(handle: ConnectionTableHandle, flows: FlowTable, objects: KmemCache, hal: Hal) {
    this.handle = handle;
    this.capacity = handle.capacity;
    this.#flows = flows;
    this.#objects = objects;
    this.#hal = hal;
    this.#fields = LAYOUT.on(objects.buffer);
    this.#bytes = new Uint8Array(objects.buffer);
    this.#count = new Int32Array(handle.count);
  }

  static create(options: { readonly capacity: number; readonly hal?: Hal; readonly rcu?: Rcu }): ConnectionTable {
    const { capacity, hal = soloHal(), rcu } = options;
    // CPUs keep freed entries and objects for themselves: there are more of them than connections.
    const room = Math.ceil(capacity * 1.25) + 1024 * hal.possibleCpus;
    const flows = FlowTable.create({ capacity: room, hal, rcu });
    const memoryLimit = Math.ceil(room * LAYOUT.size * 1.25) + (1 << 20);
    const objects = KmemCache.create({ name: "relay-connection", objectSize: LAYOUT.size, hal, memoryLimit });
    const count = new SharedArrayBuffer(8);
    const handle = { flows: flows.handle, objects: objects.handle, count, capacity };
    return new ConnectionTable(handle, flows, objects, hal);
  }

  static attach(handle: ConnectionTableHandle, options: { readonly hal: Hal; readonly rcu: Rcu }): ConnectionTable {
    const { hal, rcu } = options;
    const flows = FlowTable.attach(handle.flows, { hal, rcu });
    return new ConnectionTable(handle, flows, KmemCache.attach(handle.objects, { hal }), hal);
  }

  /** Open connections of all workers. */
  get size(): number {
    return Atomics.load(this.#count, 0);
  }

  /**
   * A client has connected.
   *
   * @returns the connection's object, 0 where there are `capacity` already
   */
  open(remote: Endpoint, local: Endpoint, listener: number, startMs: number, protocol: number): number {
    if (Atomics.add(this.#count, 0, 1) >= this.capacity) return this.#refuse();
    const object = this.#objects.zalloc();
    if (object === 0) return this.#refuse();
    const cpu = this.#hal.currentCpu();
    const serial = ++this.#serial;
    const fields = this.#fields;
    fields.id.set(object, (serial * 256 + (cpu & 255)) >>> 0);
    fields.cpu.set(object, cpu);
    fields.listener.set(object, listener);
    fields.startMs.set(object, startMs);
    const { host, port, family } = remote;
    this.#putEnd(object + LAYOUT.offsets.client, host === "" ? "unix" : host, port, family);
    const entry = this.#insert(remote, local, protocol, object, serial);
    if (entry === 0) {
      this.#objects.free(object);
      return this.#refuse();
    }
    fields.entry.set(object, entry);
    return object;
  }

  id(object: number): number {
    return this.#fields.id.get(object);
  }

  setState(object: number, state: RelayState): void {
    this.#fields.state.set(object, state);
  }

  /** Where it goes (port 0: a path, or not known), by way of what, for whom. */
  describe(object: number, { host, port, family }: Endpoint, upstream: string, user: string): void {
    this.#putEnd(object + LAYOUT.offsets.target, host, port, family);
    this.#putText(object + LAYOUT.offsets.upstream, TEXT_BYTES, upstream);
    this.#putText(object + LAYOUT.offsets.user, 32, user);
  }

  progress(object: number, clientBytes: number, serverBytes: number): void {
    this.#fields.clientBytes.set(object, clientBytes);
    this.#fields.serverBytes.set(object, serverBytes);
  }

  close(object: number): void {
    this.#flows.delete(this.#fields.entry.get(object));
    this.#objects.free(object);
    Atomics.sub(this.#count, 0, 1);
  }

  /** Visit all; a connection that opens or closes meanwhile may be left out. */
  list(visit: (connection: RelayConnection, object: number) => void): void {
    this.#flows.forEach((entry) => {
      const object = this.#flows.value(entry);
      visit(this.#read(object), object);
    });
  }

  /** What the connection holds of counts that all workers share, so that it can be given back for a dead one: 0 or less is none. */
  setTickets(object: number, client: number, user: number): void {
    this.#fields.clientTicket.set(object, Math.max(0, client));
    this.#fields.userTicket.set(object, Math.max(0, user));
  }

  setServerSlot(object: number, slot: number): void {
    this.#fields.serverSlot.set(object, slot);
  }

  /** The thread of `cpu` has ended: forget its connections, after `giveBack` has been told what each held. Returns how many. */
  reap(cpu: CpuId, giveBack: (held: HeldCounts) => void): number {
    this.#flows.reportDead(cpu);
    this.#objects.reportDead(cpu);
    // Nothing may wait for a stripe of the flow table that the thread died with: this thread would be the first.
    SpinLocks.attach(this.handle.flows.locks, { hal: this.#hal }).releaseDeadOwner(cpu);
    const dead: number[] = [];
    this.#flows.forEach((entry) => {
      const object = this.#flows.value(entry);
      if (this.#fields.cpu.get(object) === cpu) dead.push(object);
    });
    const { clientTicket, userTicket, serverSlot } = this.#fields;
    for (const object of dead) {
      const tickets = [clientTicket.get(object), userTicket.get(object)];
      const isDatagrams = this.#fields.state.get(object) === RelayState.Datagrams;
      giveBack({ tickets, serverSlot: serverSlot.get(object), isDatagrams });
      this.close(object);
    }
    return dead.length;
  }

  #refuse(): 0 {
    Atomics.sub(this.#count, 0, 1);
    return 0;
  }

  #insert(remote: Endpoint, local: Endpoint, protocol: number, object: number, serial: number): number {
    const key = this.#key;
    if (endsKey(key, remote, local, protocol)) {
      const entry = this.#flows.insert(key, 0, this.#flows.hash(key, 0), object);
      if (entry === 0 || this.#flows.inserted) return entry;
    }
    key.fill(0);
    key[0] = serial;
    key[1] = this.#hal.currentCpu();
    key[9] = NUMBERED;
    return this.#flows.insert(key, 0, this.#flows.hash(key, 0), object);
  }

  #read(object: number): RelayConnection {
    const fields = this.#fields;
    const text = (offset: number, size: number): string => this.#text(object + offset, size);
    return {
      id: fields.id.get(object),
      cpu: fields.cpu.get(object),
      state: STATE_NAMES[fields.state.get(object)],
      listener: fields.listener.get(object),
      startMs: fields.startMs.get(object),
      client: text(LAYOUT.offsets.client, TEXT_BYTES),
      target: text(LAYOUT.offsets.target, TEXT_BYTES),
      upstream: text(LAYOUT.offsets.upstream, TEXT_BYTES),
      user: text(LAYOUT.offsets.user, 32),
      clientBytes: fields.clientBytes.get(object),
      serverBytes: fields.serverBytes.get(object),
    };
  }

  /** As {@link endpointText} says, without making the text: every connection has two. */
  #putEnd(at: number, host: string, port: number, family: number): void {
    const most = TEXT_BYTES - 1 - (port === 0 ? 0 : MAX_PORT_BYTES);
    let to = at;
    if (family === 6) this.#bytes[to++] = OPENING_BRACKET;
    to += this.#putText(to, most, host);
    if (family === 6) this.#bytes[to++] = CLOSING_BRACKET;
    if (port !== 0) to = this.#putPort(to, port);
    this.#bytes[to] = 0;
  }

  #putPort(at: number, port: number): number {
    this.#bytes[at] = COLON;
    const digits = port < 10 ? 1 : port < 100 ? 2 : port < 1000 ? 3 : port < 10_000 ? 4 : 5;
    for (let i = digits, rest = port; i > 0; i--, rest = (rest / 10) | 0) this.#bytes[at + i] = ZERO + (rest % 10);
    return at + digits + 1;
  }

  /** Text up to `size` bytes with a 0 behind it, the rest cut off; what is not ASCII becomes `?`. Returns how many bytes. */
  #putText(at: number, size: number, text: string): number {
    const count = Math.min(size - 1, text.length);
    for (let i = 0; i < count; i++) {
      const code = text.charCodeAt(i);
      this.#bytes[at + i] = code < 128 ? code : 63;
    }
    this.#bytes[at + count] = 0;
    return count;
  }

  #text(at: number, size: number): string {
    let text = "";
    for (let i = at; i < at + size && this.#bytes[i] !== 0; i++) text += String.fromCharCode(this.#bytes[i]);
    return text;
  }
}

const words = new Int32Array(4);

/** The key of a connection by its ends; false where they are no addresses of one family. */
export function endsKey(key: Int32Array, remote: Endpoint, local: Endpoint, protocol: number): boolean {
  const family = parseAddress(remote.host, words, 0);
  if (family === 0) return false;
  for (let i = 0; i < 4; i++) key[i] = words[i];
  if (parseAddress(local.host, words, 0) !== family) return false;
  for (let i = 0; i < 4; i++) key[4 + i] = words[i];
  key[8] = (remote.port << 16) | local.port;
  key[9] = protocol | (family === 6 ? FLOW_KEY_IPV6 : 0);
  return true;
}

/** `192.0.2.1:80`, `[2001:db8::1]:80`, or a path. */
export function endpointText({ family, host, port }: Endpoint): string {
  return family === 6 ? `[${host}]:${port}` : family === 4 ? `${host}:${port}` : host === "" ? "unix" : host;
}
