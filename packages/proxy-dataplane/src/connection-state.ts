import { IpProtocol, TcpFlag } from "./protocols.ts";

/**
 * Where a connection is in its life. UDP, ICMP and the rest know `New` and `Established` (an answer was seen) only.
 *
 * @public
 */
export const ConnectionState: {
  /** No packet yet, or none answered. */
  readonly New: 0;
  /** TCP: SYN sent by the client. */
  readonly SynSent: 1;
  /** TCP: SYN and ACK sent by the server. */
  readonly SynReceived: 2;
  readonly Established: 3;
  /** TCP: one end has sent FIN. */
  readonly FinWait: 4;
  /** TCP: both ends have sent FIN. */
  readonly CloseWait: 5;
  /** TCP: a RST was seen. */
  readonly Closed: 6;
  /** Taken out of the table; its memory waits for readers. */
  readonly Dead: 7;
  /** TCP: both ends have sent FIN and the last ACK was seen; its ports are held until old segments have died out. */
  readonly TimeWait: 8;
} = { New: 0, SynSent: 1, SynReceived: 2, Established: 3, FinWait: 4, CloseWait: 5, Closed: 6, Dead: 7, TimeWait: 8 };

/**
 * A value of the constant of the same name.
 *
 * @public
 */
export type ConnectionState = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

/** Kinds of TCP segments, as the state machine tells them apart. */
const SYN = 0;
const SYN_ACK = 1;
const FIN = 2;
const RST = 3;
const ACK = 4;
const KINDS = 5;

/*
 * Next state by (state, direction, kind). A client that is first seen in mid-stream counts as established. The states in
 * which one FIN was seen remember from which side: a FIN from the same side again changes nothing. They are two rows,
 * FinWait for the client and FIN_FROM_SERVER, which reports as FinWait too.
 */
const FIN_FROM_SERVER = 9;
const STATES = 10;
const { New, SynSent, SynReceived, Established, FinWait, CloseWait, Closed, Dead, TimeWait } = ConnectionState;

//                        client: SYN      SYN+ACK      FIN              RST     ACK          server: the same
const ROWS: readonly (readonly number[])[] = [
  /* New */ [
    SynSent,
    Established,
    FinWait,
    Closed,
    Established,
    SynSent,
    Established,
    FIN_FROM_SERVER,
    Closed,
    Established,
  ],
  /* SynSent */ [
    SynSent,
    SynSent,
    FinWait,
    Closed,
    SynSent,
    SynReceived,
    SynReceived,
    FIN_FROM_SERVER,
    Closed,
    SynSent,
  ],
  /* SynRecv */ [
    SynReceived,
    Established,
    FinWait,
    Closed,
    Established,
    SynReceived,
    SynReceived,
    FIN_FROM_SERVER,
    Closed,
    SynReceived,
  ],
  /* Estab. */ [
    Established,
    Established,
    FinWait,
    Closed,
    Established,
    Established,
    Established,
    FIN_FROM_SERVER,
    Closed,
    Established,
  ],
  /* FinWait */ [FinWait, FinWait, FinWait, Closed, FinWait, FinWait, FinWait, CloseWait, Closed, FinWait],
  /* CloseW. */ [SynSent, CloseWait, CloseWait, Closed, TimeWait, CloseWait, CloseWait, CloseWait, Closed, TimeWait],
  /* Closed */ [SynSent, Closed, Closed, Closed, Closed, Closed, Closed, Closed, Closed, Closed],
  /* Dead */ [Dead, Dead, Dead, Dead, Dead, Dead, Dead, Dead, Dead, Dead],
  /* TimeW. */ [SynSent, TimeWait, TimeWait, Closed, TimeWait, TimeWait, TimeWait, TimeWait, Closed, TimeWait],
  /* FIN srv */ [
    FIN_FROM_SERVER,
    FIN_FROM_SERVER,
    CloseWait,
    Closed,
    FIN_FROM_SERVER,
    FIN_FROM_SERVER,
    FIN_FROM_SERVER,
    FIN_FROM_SERVER,
    Closed,
    FIN_FROM_SERVER,
  ],
];

const TCP_NEXT = Uint8Array.from(ROWS.flat());
if (TCP_NEXT.length !== STATES * KINDS * 2) throw new Error("the TCP state table is not complete");

function segmentKind(flags: number): number {
  if ((flags & TcpFlag.Rst) !== 0) return RST;
  if ((flags & TcpFlag.Syn) !== 0) return (flags & TcpFlag.Ack) === 0 ? SYN : SYN_ACK;
  return (flags & TcpFlag.Fin) === 0 ? ACK : FIN;
}

/** The state word after a packet. `direction` is 0 from the client, 1 from the server. */
export function nextState(word: number, protocol: number, direction: number, tcpFlags: number): number {
  if (protocol === IpProtocol.Tcp) return TCP_NEXT[(word * 2 + direction) * KINDS + segmentKind(tcpFlags)];
  return direction === 1 && word === New ? Established : word;
}

/** What a state word reports as. */
export function stateOf(word: number): ConnectionState {
  return word === FIN_FROM_SERVER ? FinWait : (word as ConnectionState);
}

const SECOND = 1000;
/**
 * Milliseconds without a packet, by TCP state word: SYN 120 s, established 7200 s, FIN 120 s, close-wait 60 s, and time-wait 120 s
 * as in Linux's nf_conntrack_proto_tcp.c, which is more than the two segment lifetimes of RFC 9293 as hosts count them.
 */
const TCP_TIMEOUT_MS = Int32Array.of(120, 120, 120, 7200, 120, 60, 10, 0, 120, 120).map((seconds) => seconds * SECOND);
const UDP_TIMEOUT_MS = 180 * SECOND;
const ICMP_TIMEOUT_MS = 30 * SECOND;
const OTHER_TIMEOUT_MS = 600 * SECOND;

/** Milliseconds without a packet after which a connection is gone. */
export function timeoutMs(word: number, protocol: number): number {
  switch (protocol) {
    case IpProtocol.Tcp:
      return TCP_TIMEOUT_MS[word];
    case IpProtocol.Udp:
      return UDP_TIMEOUT_MS;
    case IpProtocol.Icmp:
    case IpProtocol.Icmpv6:
      return ICMP_TIMEOUT_MS;
    default:
      return OTHER_TIMEOUT_MS;
  }
}
