/**
 * Gives flows another source: the first that holds decides. Every kind of condition that is given must hold, and a kind holds when
 * one of its entries does.
 *
 * @public
 */
export interface SourceTranslation {
  /** For messages. */
  readonly name?: string;
  /** Networks of the client. */
  readonly source?: readonly string[];
  /** Networks of where the flow goes, after its destination was translated. */
  readonly destination?: readonly string[];
  readonly protocols?: readonly ("tcp" | "udp" | "icmp" | "icmpv6" | number)[];
  /** Flows to servers, or all others. Default both. */
  readonly via?: "server" | "direct";
  /**
   * Addresses and ranges of addresses, as `203.0.113.4-203.0.113.7`. A client gets the same one for all its flows (RFC 4787,
   * REQ-2) while that has ports. Default: the address of the box of the flow's family (masquerade). A flow of a family that no
   * address is of is not held.
   */
  readonly to?: readonly string[];
  /**
   * Ports of TCP and UDP, identifiers of ICMP echoes, as `20000-29999`. A client keeps its port where it is in the range and free.
   * Default: as Linux, ports of the class of the client's: below 512, below 1024, all others.
   */
  readonly ports?: string;
  /** The port is drawn even where the client's is free. Default false. */
  readonly randomPorts?: boolean;
}

/**
 * Gives flows another destination. Such a flow goes there, not to a server.
 *
 * @public
 */
export interface DestinationTranslation {
  /** For messages. */
  readonly name?: string;
  readonly source?: readonly string[];
  readonly destination?: readonly string[];
  readonly protocols?: readonly ("tcp" | "udp" | "icmp" | "icmpv6" | number)[];
  /** Ports, and ranges of ports as `8000-8999`. */
  readonly ports?: readonly (number | string)[];
  /** Addresses and ranges of addresses; a client gets the same one for all its flows. */
  readonly to: readonly string[];
  /** Default: that of the flow. */
  readonly port?: number;
}

/**
 * Address translation of new flows on the packet path; sockets have no use for it. A flow keeps what it got when the
 * configuration changes.
 *
 * @public
 */
export interface TranslationConfig {
  /** Addresses of the box, the first of each family: what masquerading and hairpins translate to, and ICMP errors come from. */
  readonly own?: readonly string[];
  readonly source?: readonly SourceTranslation[];
  readonly destination?: readonly DestinationTranslation[];
  /**
   * Networks whose hosts may reach each other by translated destinations: when client and translated destination are both in
   * one of them and no rule gave the flow another source, it gets the box's address, or without one the address the client
   * asked for, so that answers come back through the box (hairpin, RFC 4787 section 6).
   */
  readonly hairpin?: readonly string[];
}

/**
 * How a rejected packet is answered: `reset` is a TCP reset, and ICMP port-unreachable for all else; the others are ICMP for TCP too.
 *
 * @public
 */
export type RejectAnswer = "reset" | "port-unreachable" | "prohibited";
