import { ConnectionState } from "./connection-state.ts";
import type { ConnectionInfo, TupleEnds } from "./dataplane-options.ts";
import { IpProtocol, PROTOCOL_DCCP, PROTOCOL_SCTP, PROTOCOL_UDP_LITE } from "./protocols.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const NAME_COLUMNS = 8;

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
  const isAssured = isReplied && (protocol !== IpProtocol.Tcp || state >= ConnectionState.Established);
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
    ...(isAssured ? ["[ASSURED]"] : []),
    "mark=0",
    ...(form === "proc" ? ["zone=0"] : []),
    form === "proc" ? "use=2" : "use=1",
  ];
  return parts.join(" ");
}

function tuple(ends: TupleEnds, protocol: number, isRequest: boolean): string {
  const addresses = `src=${ends.source} dst=${ends.destination}`;
  if (protocol === IpProtocol.Icmp) return `${addresses} type=${isRequest ? 8 : 0} code=0 id=${ends.sourcePort}`;
  if (protocol === IpProtocol.Icmpv6) return `${addresses} type=${isRequest ? 128 : 129} code=0 id=${ends.sourcePort}`;
  if (NAMES[protocol] === undefined) return addresses;
  return `${addresses} sport=${ends.sourcePort} dport=${ends.destinationPort}`;
}
