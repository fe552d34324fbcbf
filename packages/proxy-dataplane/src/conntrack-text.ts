import { ConnectionState } from "./connection-state.ts";
import type { ConnectionInfo, TupleEnds } from "./dataplane-options.ts";
import { IpProtocol, PROTOCOL_DCCP, PROTOCOL_SCTP, PROTOCOL_UDP_LITE } from "./protocols.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const NAME_COLUMNS = 8;
const EVENT_COLUMNS = 9;

const NAMES: Readonly<Record<number, string>> = {
  [IpProtocol.Icmp]: "icmp",
  [IpProtocol.Tcp]: "tcp",
  [IpProtocol.Udp]: "udp",
  [IpProtocol.Icmpv6]: "icmpv6",
  [PROTOCOL_DCCP]: "dccp",
  [PROTOCOL_SCTP]: "sctp",
  [PROTOCOL_UDP_LITE]: "udplite",
};

/** As Linux names them. */
const TCP_STATES: Readonly<Record<ConnectionState, string>> = {
  [ConnectionState.New]: "NONE",
  [ConnectionState.SynSent]: "SYN_SENT",
  [ConnectionState.SynReceived]: "SYN_RECV",
  [ConnectionState.Established]: "ESTABLISHED",
  [ConnectionState.FinWait]: "FIN_WAIT",
  [ConnectionState.CloseWait]: "LAST_ACK",
  [ConnectionState.Closed]: "CLOSE",
  [ConnectionState.Dead]: "CLOSE",
  [ConnectionState.TimeWait]: "TIME_WAIT",
};

/**
 * One line about a connection: as `conntrack -L` prints it, or with `proc` as `/proc/net/nf_conntrack` does, counts included.
 *
 * @public
 */
export function formatConntrack(connection: ConnectionInfo, form: "conntrack" | "proc" = "conntrack"): string {
  const { protocol, state, isIpv6, original, reply, remainingMs } = connection;
  const name = (NAMES[protocol] ?? "unknown").padEnd(NAME_COLUMNS);
  const seconds = Math.max(0, Math.floor(remainingMs / 1000));
  const isReplied = connection.packetsReceived > 0;
  const parts = [
    ...(form === "proc" ? [(isIpv6 ? "ipv6" : "ipv4").padEnd(NAME_COLUMNS), `${isIpv6 ? AF_INET6 : AF_INET}`] : []),
    name,
    `${protocol}`,
    `${seconds}`,
    ...(protocol === IpProtocol.Tcp ? [TCP_STATES[state]] : []),
    tuple(original, protocol, true),
    `packets=${connection.packetsSent} bytes=${connection.bytesSent}`,
    ...(isReplied ? [] : ["[UNREPLIED]"]),
    tuple(reply, protocol, false),
    `packets=${connection.packetsReceived} bytes=${connection.bytesReceived}`,
    ...(isAssured(connection) ? ["[ASSURED]"] : []),
    "mark=0",
    ...(form === "proc" ? ["zone=0"] : []),
    form === "proc" ? "use=2" : "use=1",
  ];
  return parts.join(" ");
}

/**
 * One line about an event, as `conntrack -E` prints it: `new`, `update` (another state, or the first answer), `destroy` with
 * the final counts. Observers hear of them: `onConnection`, `onConnectionUpdate`; `Dataplane.connection` tells of whom.
 *
 * @public
 */
export function formatConntrackEvent(event: "new" | "update" | "destroy", connection: ConnectionInfo): string {
  const { protocol, state, original, reply, remainingMs } = connection;
  const isEnd = event === "destroy";
  const isReplied = connection.packetsReceived > 0;
  const counts = (packets: number, bytes: number): string[] => (isEnd ? [`packets=${packets} bytes=${bytes}`] : []);
  const parts = [
    `[${event.toUpperCase()}]`.padStart(EVENT_COLUMNS),
    (NAMES[protocol] ?? "unknown").padEnd(NAME_COLUMNS),
    `${protocol}`,
    ...(isEnd ? [] : [`${Math.max(0, Math.floor(remainingMs / 1000))}`]),
    ...(isEnd || protocol !== IpProtocol.Tcp ? [] : [TCP_STATES[state]]),
    tuple(original, protocol, true),
    ...counts(connection.packetsSent, connection.bytesSent),
    ...(isReplied ? [] : ["[UNREPLIED]"]),
    tuple(reply, protocol, false),
    ...counts(connection.packetsReceived, connection.bytesReceived),
    ...(isAssured(connection) ? ["[ASSURED]"] : []),
  ];
  return parts.join(" ");
}

/** As Linux keeps it through early drops: answered, and of TCP established. */
function isAssured({ packetsReceived, protocol, state }: ConnectionInfo): boolean {
  return packetsReceived > 0 && (protocol !== IpProtocol.Tcp || state >= ConnectionState.Established);
}

function tuple(ends: TupleEnds, protocol: number, isRequest: boolean): string {
  const addresses = `src=${ends.source} dst=${ends.destination}`;
  if (protocol === IpProtocol.Icmp) return `${addresses} type=${isRequest ? 8 : 0} code=0 id=${ends.sourcePort}`;
  if (protocol === IpProtocol.Icmpv6) return `${addresses} type=${isRequest ? 128 : 129} code=0 id=${ends.sourcePort}`;
  if (NAMES[protocol] === undefined) return addresses;
  return `${addresses} sport=${ends.sourcePort} dport=${ends.destinationPort}`;
}
