/** Words of {@link PacketInfo.key}; the flow key of `@x/perf-cache`. */
export const KEY_WORDS = 10;
/** Set in the last key word for IPv6. */
export const KEY_IPV6 = 0x100;

/**
 * What parsing found first wrong with a packet; `Ok` when nothing.
 *
 * @public
 */
export const ParseResult: {
  /** Every header that is known was whole and consistent. */
  readonly Ok: 0;
  /** The link header ends early. */
  readonly CutLink: 1;
  /** The network header, or an IPv6 extension header, ends early. */
  readonly CutNetwork: 2;
  /** The network header contradicts itself or the packet's length. */
  readonly BadNetwork: 3;
  /** The transport header ends early. */
  readonly CutTransport: 4;
  /** The transport header contradicts itself or the network header. */
  readonly BadTransport: 5;
} = { Ok: 0, CutLink: 1, CutNetwork: 2, BadNetwork: 3, CutTransport: 4, BadTransport: 5 };

/**
 * A value of the constant of the same name.
 *
 * @public
 */
export type ParseResult = 0 | 1 | 2 | 3 | 4 | 5;

/**
 * The outermost network protocol of a packet.
 *
 * @public
 */
export const NetworkKind: { readonly Other: 0; readonly Arp: 1; readonly Ipv4: 4; readonly Ipv6: 6 } = {
  Other: 0,
  Arp: 1,
  Ipv4: 4,
  Ipv6: 6,
};

/**
 * A value of the constant of the same name.
 *
 * @public
 */
export type NetworkKind = 0 | 1 | 4 | 6;

/**
 * Where the headers of one packet are and what they say. Made once and filled again by each parse, so that parsing
 * allocates nothing. Offsets are absolute in the bytes that were parsed; -1 where there is no such header.
 *
 * @public
 */
export class PacketInfo {
  /** First thing wrong. A field behind the problem keeps its default. */
  result: ParseResult = 0;
  /** EtherType behind all VLAN tags; 0 where the link type has none. */
  etherType = 0;
  /** VLAN tags, and the identifier in the outermost one (-1 without). */
  vlanTags = 0;
  vlanId = -1;
  network: NetworkKind = 0;
  networkOffset = -1;
  /** End of the network packet: its own length field, never past the end of the packet on the wire. */
  networkEnd = -1;
  /** End of the bytes of the network packet that are here; below `networkEnd` when the packet was captured in part. */
  availableEnd = -1;
  /** Length of the IPv4 header with options, or of the IPv6 header with its extension headers. */
  networkHeaderLength = 0;
  /** Time to live, or hop limit. */
  ttl = 0;
  /** Protocol number behind IPv6 extension headers; -1 when unknown. */
  protocol = -1;
  /** 1 when the packet is a fragment, an IPv6 atomic fragment included. */
  fragment: 0 | 1 = 0;
  /** Byte offset of a fragment in its datagram; 0 for whole packets and first fragments. */
  fragmentOffset = 0;
  /** Identification of the datagram, and where the octets at the fragment's offset begin; of fragments alone. */
  fragmentId = 0;
  fragmentStart = -1;
  /** 1 when more fragments follow. */
  moreFragments: 0 | 1 = 0;
  transportOffset = -1;
  transportHeaderLength = 0;
  /** Transport header and payload by the transport's own length (UDP) or the network's (others). */
  transportLength = 0;
  /** 1 when `sourcePort` and `destinationPort` were read. */
  hasPorts: 0 | 1 = 0;
  /** Port; for ICMP echo the identifier. */
  sourcePort = 0;
  destinationPort = 0;
  tcpFlags = 0;
  /** As signed 32 bits; `>>> 0` gives the number. */
  tcpSequence = 0;
  tcpAcknowledgement = 0;
  tcpWindow = 0;
  icmpType = 0;
  icmpCode = 0;
  /** 1 for an echo request or reply. */
  isEcho: 0 | 1 = 0;
  /**
   * The flow key of `@x/perf-cache`: words 0-3 source address, 4-7 destination address (IPv4 in words 0 and 4, rest 0),
   * 8 `sourcePort << 16 | destinationPort`, 9 `protocol | (isIpv6 ? 0x100 : 0)`. Address words are the four bytes as a
   * big-endian number. All 0 without an IP header.
   */
  readonly key: Int32Array = new Int32Array(KEY_WORDS);

  /** Back to the state of a new object. */
  clear(): void {
    // Written out: a loop over so few words costs four times as much.
    const { key } = this;
    this.result = 0;
    this.etherType = 0;
    this.vlanTags = 0;
    this.vlanId = -1;
    this.network = 0;
    this.networkOffset = -1;
    this.networkEnd = -1;
    this.availableEnd = -1;
    this.networkHeaderLength = 0;
    this.ttl = 0;
    this.protocol = -1;
    this.fragment = 0;
    this.fragmentOffset = 0;
    this.fragmentId = 0;
    this.fragmentStart = -1;
    this.moreFragments = 0;
    this.transportOffset = -1;
    this.transportHeaderLength = 0;
    this.transportLength = 0;
    this.hasPorts = 0;
    this.sourcePort = 0;
    this.destinationPort = 0;
    this.tcpFlags = 0;
    this.tcpSequence = 0;
    this.tcpAcknowledgement = 0;
    this.tcpWindow = 0;
    this.icmpType = 0;
    this.icmpCode = 0;
    this.isEcho = 0;
    key[0] = 0;
    key[1] = 0;
    key[2] = 0;
    key[3] = 0;
    key[4] = 0;
    key[5] = 0;
    key[6] = 0;
    key[7] = 0;
    key[8] = 0;
    key[9] = 0;
  }
}
