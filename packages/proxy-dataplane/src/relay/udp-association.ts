import { Count } from "./counters.ts";
import type { Endpoint, UdpOwner, UdpPort } from "./engine.ts";
import { scratch } from "./inbound.ts";
import { ParsedRequest } from "./request.ts";
import type { CommandHandler } from "./phase.ts";
import type { Session } from "./session.ts";
import { parseSocks5Address, SOCKS5_MAX_MESSAGE, writeSocks5Address, writeSocks5Reply } from "./socks5.ts";

const MAX_DATAGRAM = 65_535;
/** Datagrams that wait for a name to be looked up. */
const MAX_WAITING = 16;

/** Targets that one association can hear from; the one first sent to is forgotten for a new one. */
const MAX_PEERS = 1024;

/** Where a datagram goes, and by which name the client called it; "" by none. */
interface DatagramTarget {
  readonly family: 4 | 6;
  readonly host: string;
  readonly port: number;
  readonly name: string;
}

const frame = new Uint8Array(MAX_DATAGRAM + SOCKS5_MAX_MESSAGE);

/**
 * UDP ASSOCIATE of SOCKS5 (RFC 1928, 7), as long as the client's connection lasts. Datagrams between client and proxy carry the other end:
 *
 *     ┌──────┬──────────┬──────┬─────────┬──────┬──────┐
 *     │ 0  0 │ fragment │ atyp │ address │ port │ data │
 *     └──────┴──────────┴──────┴─────────┴──────┴──────┘
 */
export class UdpAssociation implements CommandHandler, UdpOwner {
  readonly #session: Session;
  /** Towards the client. */
  #near: UdpPort | undefined = undefined;
  /** Towards the targets, one a family. */
  #far4: UdpPort | undefined = undefined;
  #far6: UdpPort | undefined = undefined;
  /** Where the client sends from: known with its first datagram. */
  #client: Endpoint | undefined = undefined;
  /** Targets that the client has sent to, by text: nobody else reaches it. */
  readonly #peers = new Set<string>();
  readonly #head = new ParsedRequest();
  #waiting = 0;
  #activeMs = 0;

  constructor(session: Session) {
    this.#session = session;
  }

  start(): void {
    const session = this.#session;
    const { core, client } = session;
    const { family, host } = client.local;
    if (family === 0) return session.fail("unsupported");
    this.#activeMs = core.engine.nowMs();
    try {
      this.#near = core.engine.udp({ endpoint: { family, host, port: 0 } }, this, (port) => this.#opened(port));
    } catch {
      session.fail("internal");
    }
  }

  onDatagram(port: UdpPort, bytes: Uint8Array, from: number, to: number, peer: Endpoint): void {
    this.#activeMs = this.#session.core.engine.nowMs();
    if (port === this.#near) this.#fromClient(bytes, from, to, peer);
    else this.#fromTarget(bytes, from, to, peer);
  }

  onUdpError(): void {
    this.#session.core.count(Count.udpDropped, 1);
  }

  /** Nothing is expected on the connection; the protocol does not say that it is an error. */
  onClientData(): void {}

  onDeadline(): void {
    const session = this.#session;
    const leftMs = this.#activeMs + session.runtime.timeouts.idleMs - session.core.engine.nowMs();
    if (leftMs > 0) return session.setDeadline(leftMs);
    session.core.count(Count.idleTimeouts, 1);
    session.close("idle-timeout", false);
  }

  dispose(): void {
    this.#near?.close();
    this.#far4?.close();
    this.#far6?.close();
    this.#near = this.#far4 = this.#far6 = undefined;
  }

  #opened(port: UdpPort): void {
    const { core, client, runtime } = this.#session;
    core.count(Count.udpFlows, 1);
    client.write(scratch, 0, writeSocks5Reply(scratch, 0, port.local.host, port.local.port));
    client.resume();
    this.#session.setDeadline(runtime.timeouts.idleMs);
  }

  #fromClient(bytes: Uint8Array, from: number, to: number, peer: Endpoint): void {
    const { core, client } = this.#session;
    core.count(Count.udpDatagramsIn, 1);
    // Only the host that holds the connection, and, from its first datagram on, only that port.
    if (peer.host !== client.remote.host) return this.#drop();
    if (this.#client === undefined) this.#client = { family: peer.family, host: peer.host, port: peer.port };
    else if (this.#client.port !== peer.port) return this.#drop();
    if (to - from < 4 || bytes[from] !== 0 || bytes[from + 1] !== 0 || bytes[from + 2] !== 0) return this.#drop();
    const head = this.#head;
    const length = parseSocks5Address(bytes, from + 3, to, head);
    if (length <= 0 || head.port === 0) return this.#drop();
    const data = from + 3 + length;
    const { family, host, port } = head;
    if (family !== 0) return this.#send({ family, host, port, name: "" }, bytes, data, to);
    this.#sendToName(head.host, head.port, bytes.slice(data, to));
  }

  #sendToName(host: string, port: number, data: Uint8Array): void {
    if (this.#waiting >= MAX_WAITING) return this.#drop();
    this.#waiting++;
    this.#session.core.resolver.resolve(host, (addresses) => {
      this.#waiting--;
      if (this.#near === undefined) return;
      if (addresses.length === 0) return this.#drop();
      this.#send({ family: addresses[0].family, host: addresses[0].host, port, name: host }, data, 0, data.length);
    });
  }

  #send({ family, host, port, name }: DatagramTarget, bytes: Uint8Array, from: number, to: number): void {
    const session = this.#session;
    if (!session.runtime.guard.allows(host)) return this.#drop();
    const key = `${host} ${port}`;
    if (!this.#peers.has(key) && !this.#mayPass(key, host, port, name)) return this.#drop();
    const far = this.#far(family);
    if (far === undefined) return this.#drop();
    const { admission } = session.core;
    // What waits elsewhere is dropped here; a debt does not grow by it.
    if (admission.spend(session.clientTicket, session.userTicket, 0) > 0) return this.#drop();
    admission.spend(session.clientTicket, session.userTicket, to - from);
    const { capture } = session.core;
    if (this.#client !== undefined) capture?.datagram(this.#client, { family, host, port }, 0, bytes, from, to);
    session.clientBytes += to - from;
    session.core.count(Count.udpDatagramsOut, 1);
    far.send(bytes, from, to, { family, host, port });
  }

  /** The rules are asked once for each target. */
  #mayPass(key: string, host: string, port: number, name: string): boolean {
    const { core, client, user } = this.#session;
    const request = { client: client.remote.host, clientPort: client.remote.port, destination: host, port };
    const known = { user: user === "" ? undefined : user, hostName: name === "" ? undefined : name };
    if (!core.mayDatagram({ ...request, ...known })) return false;
    if (this.#peers.size >= MAX_PEERS) for (const oldest of this.#peers) if (this.#peers.delete(oldest)) break;
    this.#peers.add(key);
    return true;
  }

  #far(family: 4 | 6): UdpPort | undefined {
    const { engine } = this.#session.core;
    try {
      if (family === 4) return (this.#far4 ??= engine.udp({ endpoint: { family, host: "0.0.0.0", port: 0 } }, this));
      return (this.#far6 ??= engine.udp({ endpoint: { family, host: "::", port: 0 } }, this));
    } catch {
      return undefined;
    }
  }

  #fromTarget(bytes: Uint8Array, from: number, to: number, peer: Endpoint): void {
    const client = this.#client;
    if (client === undefined || !this.#peers.has(`${peer.host} ${peer.port}`)) return this.#drop();
    frame[0] = frame[1] = frame[2] = 0;
    const data = writeSocks5Address(frame, 3, peer.host, peer.port);
    frame.set(bytes.subarray(from, to), data);
    this.#session.serverBytes += to - from;
    this.#session.core.capture?.datagram(client, peer, 1, bytes, from, to);
    this.#near?.send(frame, 0, data + to - from, client);
  }

  #drop(): void {
    this.#session.core.count(Count.udpDropped, 1);
  }
}
