import { parseAddress } from "../addresses.ts";
import type { ProxyServer } from "../policy/config.ts";
import type { ConnectionRequest, ConnectionRoute } from "../policy/policy-engine.ts";
import { Count } from "./counters.ts";
import type { Endpoint, UdpOwner, UdpPort } from "./engine.ts";
import { scratch } from "./inbound.ts";
import { ParsedRequest } from "./request.ts";
import type { CommandHandler } from "./phase.ts";
import type { Session } from "./session.ts";
import type { RelayFailure } from "./failure.ts";
import type { TrafficCapture } from "./traffic-capture.ts";
import { UpstreamAssociation, type AssociationOwner } from "./upstream-association.ts";
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
export class UdpAssociation implements CommandHandler, UdpOwner, AssociationOwner {
  readonly #session: Session;
  /** Towards the client. */
  #near: UdpPort | undefined = undefined;
  /** Towards the targets, one a family. */
  #far4: UdpPort | undefined = undefined;
  #far6: UdpPort | undefined = undefined;
  /** Towards the targets that the rules send to a server, one a server. */
  readonly #upstreams = new Map<ProxyServer, UpstreamAssociation>();
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
    for (const association of this.#upstreams.values()) association.close();
    this.#upstreams.clear();
  }

  /** A server passes on what its client may hear: that it is from a target of the client is the server's to know. */
  onTargetDatagram(host: string, port: number, bytes: Uint8Array, from: number, to: number): void {
    this.#activeMs = this.#session.core.engine.nowMs();
    if (this.#client === undefined) return this.#drop();
    this.#answer(this.#client, host, port, bytes, from, to);
  }

  /** The next datagram asks anew. */
  onAssociationEnd(association: UpstreamAssociation, failure: RelayFailure): void {
    this.#session.core.countFailure(failure);
    for (const [server, each] of this.#upstreams) if (each === association) this.#upstreams.delete(server);
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
    // A server looks up names itself; by an address that is looked up here the rules may decide otherwise.
    const request = this.#requestFor(host, port, "");
    const route = core.datagramRoute(this.#session.runtime, request);
    if (typeof route !== "string") return this.#sendBy(request, route, bytes, data, to);
    this.#sendToName(host, port, bytes.slice(data, to));
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
    const key = `${host} ${port}`;
    if (!this.#peers.has(key)) {
      const request = this.#requestFor(host, port, name);
      const route = session.core.datagramRoute(session.runtime, request);
      if (route === "denied") return this.#drop();
      if (route !== "direct") return this.#sendBy(request, route, bytes, from, to);
      if (!session.runtime.guard.allows(host)) return this.#drop();
      this.#remember(key);
    }
    const far = this.#far(family);
    if (far === undefined) return this.#drop();
    if (this.#spend(host, port, bytes, from, to)) far.send(bytes, from, to, { family, host, port });
  }

  #sendBy(request: ConnectionRequest, route: ConnectionRoute, bytes: Uint8Array, from: number, to: number): void {
    const { destination, port } = request;
    if (!this.#spend(destination, port, bytes, from, to)) return;
    if (!this.#upstream(request, route).send(destination, port, bytes, from, to)) this.#drop();
  }

  #upstream(request: ConnectionRequest, route: ConnectionRoute): UpstreamAssociation {
    const { core, runtime, object } = this.#session;
    const server = route.server!;
    const known = this.#upstreams.get(server);
    if (known !== undefined) return known;
    // The table has room for one server of a connection.
    const counted = this.#upstreams.size === 0 ? object : 0;
    const made = new UpstreamAssociation(core, runtime, counted, request, route, this);
    this.#upstreams.set(server, made);
    made.start();
    return made;
  }

  /** Account for a datagram. False: it is over the limit, and dropped; what waits elsewhere is dropped here, and a debt does not grow by it. */
  #spend(host: string, port: number, bytes: Uint8Array, from: number, to: number): boolean {
    const session = this.#session;
    const { admission, capture } = session.core;
    if (admission.spend(session.clientTicket, session.userTicket, 0) > 0) {
      this.#drop();
      return false;
    }
    admission.spend(session.clientTicket, session.userTicket, to - from);
    if (this.#client !== undefined && capture !== undefined)
      capture.datagram(this.#client, capturedEnd(capture, host, port), 0, bytes, from, to);
    session.clientBytes += to - from;
    session.core.count(Count.udpDatagramsOut, 1);
    return true;
  }

  #requestFor(host: string, port: number, name: string): ConnectionRequest {
    const { client, user } = this.#session;
    return {
      protocol: "udp",
      client: client.remote.host,
      clientPort: client.remote.port,
      destination: host,
      port,
      user: user === "" ? undefined : user,
      hostName: name === "" ? undefined : name,
    };
  }

  /** The rules are asked once for each target that is sent to directly. */
  #remember(key: string): void {
    if (this.#peers.size >= MAX_PEERS) for (const oldest of this.#peers) if (this.#peers.delete(oldest)) break;
    this.#peers.add(key);
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
    this.#answer(client, peer.host, peer.port, bytes, from, to);
  }

  #answer(client: Endpoint, host: string, port: number, bytes: Uint8Array, from: number, to: number): void {
    frame[0] = frame[1] = frame[2] = 0;
    const data = writeSocks5Address(frame, 3, host, port);
    frame.set(bytes.subarray(from, to), data);
    this.#session.serverBytes += to - from;
    const { capture } = this.#session.core;
    if (capture !== undefined) capture.datagram(client, capturedEnd(capture, host, port), 1, bytes, from, to);
    this.#near?.send(frame, 0, data + to - from, client);
  }

  #drop(): void {
    this.#session.core.count(Count.udpDropped, 1);
  }
}

const words = new Int32Array(4);

/** A target as a capture has it: one known by its name alone gets an address there. */
function capturedEnd(capture: TrafficCapture, host: string, port: number): Endpoint {
  const family = parseAddress(host, words, 0);
  return family === 0 ? capture.named(host, port) : { family, host, port };
}
