/**
 * Link types of captures that the parser opens (numbers of the registry at tcpdump.org/linktypes.html, also IETF
 * draft-ietf-opsawg-pcaplinktype). Packets of another link type are passed on unopened.
 *
 * @public
 */
export const LinkType: {
  readonly Null: 0;
  readonly Ethernet: 1;
  readonly Raw: 101;
  readonly Loop: 108;
  readonly LinuxSll: 113;
  readonly Ipv4: 228;
  readonly Ipv6: 229;
  readonly LinuxSll2: 276;
} = { Null: 0, Ethernet: 1, Raw: 101, Loop: 108, LinuxSll: 113, Ipv4: 228, Ipv6: 229, LinuxSll2: 276 };

/** DLT_RAW as BSD systems and OpenBSD write it into files. */
export const RAW_BSD = 12;
export const RAW_OPENBSD = 14;

/** EtherTypes (IEEE 802 numbers registry of IANA). */
export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV6 = 0x86dd;
export const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_PROVIDER_BRIDGE = 0x88a8;
export const ETHERTYPE_OLD_QINQ = 0x9100;
/** Values below are a length (IEEE 802.3) and an LLC header follows. */
export const ETHERTYPE_MIN = 0x0600;

/**
 * IP protocol numbers the data path knows (IANA registry).
 *
 * @public
 */
export const IpProtocol: { readonly Icmp: 1; readonly Tcp: 6; readonly Udp: 17; readonly Icmpv6: 58 } = {
  Icmp: 1,
  Tcp: 6,
  Udp: 17,
  Icmpv6: 58,
};

/** IPv6 extension headers (RFC 8200 section 4, RFC 6275, RFC 7401, RFC 5533). */
export const IPV6_HOP_BY_HOP = 0;
export const IPV6_ROUTING = 43;
export const IPV6_FRAGMENT = 44;
export const IPV6_AUTHENTICATION = 51;
export const IPV6_DESTINATION = 60;
export const IPV6_HIP = 139;
export const IPV6_SHIM6 = 140;

/** Further transports that begin with two 16-bit ports. */
export const PROTOCOL_DCCP = 33;
export const PROTOCOL_SCTP = 132;
export const PROTOCOL_UDP_LITE = 136;

/**
 * Bits of {@link PacketInfo.tcpFlags} (RFC 9293 section 3.1).
 *
 * @public
 */
export const TcpFlag: { readonly Fin: 1; readonly Syn: 2; readonly Rst: 4; readonly Psh: 8; readonly Ack: 16 } = {
  Fin: 1,
  Syn: 2,
  Rst: 4,
  Psh: 8,
  Ack: 16,
};
