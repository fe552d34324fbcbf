import { STATE_NAMES, type RelayConnection } from "../relay/connection-table.ts";
import type { RelayCounter } from "../relay/counters.ts";
import type { RunningProxy } from "./proxy.ts";

/** Metrics that are counters of workers: name, and what they mean. */
const COUNTED: readonly (readonly [RelayCounter, string, string])[] = [
  ["accepted", "relay_connections_accepted_total", "Connections of clients"],
  ["relayed", "relay_connections_relayed_total", "Connections that were joined with their target"],
  ["failed", "relay_requests_failed_total", "Requests that were not served"],
  ["denied", "relay_requests_denied_total", "Requests that a rule or the guard refused"],
  ["overLimit", "relay_connections_over_limit_total", "Connections refused for a limit"],
  ["authenticationFailures", "relay_authentication_failures_total", "Wrong users or passwords"],
  ["handshakeTimeouts", "relay_handshake_timeouts_total", "Clients that did not finish their request in time"],
  ["idleTimeouts", "relay_idle_timeouts_total", "Connections closed because nothing moved"],
  ["halfClosedTimeouts", "relay_half_closed_timeouts_total", "Half-closed connections closed because nothing moved"],
  ["connectFailures", "relay_connect_failures_total", "Attempts to connect that failed"],
  ["connectTimeouts", "relay_connect_timeouts_total", "Attempts to connect that took too long"],
  ["retries", "relay_retries_total", "Requests that were sent to another server"],
  ["resets", "relay_resets_total", "Connections that a side reset"],
  ["clientBytes", "relay_client_bytes_total", "Bytes taken from clients, of connections that have ended"],
  ["serverBytes", "relay_server_bytes_total", "Bytes taken from servers, of connections that have ended"],
  ["dnsLookups", "relay_dns_lookups_total", "Names looked up"],
  ["dnsHits", "relay_dns_hits_total", "Names remembered"],
  ["dnsFailures", "relay_dns_failures_total", "Look-ups that failed"],
  ["udpFlows", "relay_udp_flows_total", "UDP flows and associations"],
  ["udpDatagramsIn", "relay_udp_datagrams_in_total", "Datagrams from clients"],
  ["udpDatagramsOut", "relay_udp_datagrams_out_total", "Datagrams to targets"],
  ["udpDropped", "relay_udp_dropped_total", "Datagrams dropped"],
  ["captureLost", "relay_capture_lost_total", "Packets that the capture had no room for"],
  ["loops", "relay_loops_total", "Connections that were meant for, or came from, the proxy itself"],
  ["acceptErrors", "relay_accept_errors_total", "Failures to accept"],
  ["logDropped", "relay_log_lines_dropped_total", "Lines of the access log that were dropped"],
];

/** The proxy's figures in the text format of Prometheus, version 0.0.4. */
export function metricsText(proxy: RunningProxy, connections: readonly RelayConnection[]): string {
  const status = proxy.status();
  const lines: string[] = [];
  const gauge = (name: string, help: string, value: number): void =>
    void lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} gauge`, `${name} ${value}`);
  gauge("relay_connections", "Open connections", status.connections);
  gauge("relay_connections_limit", "Open connections, at most", status.connectionsMost);
  gauge("relay_workers", "Worker threads", status.workers);
  gauge("relay_workers_replaced", "Worker threads that died and were replaced", status.workersReplaced);
  gauge("relay_config_version", "Version of the configuration", status.configVersion);
  gauge("relay_uptime_seconds", "Time since the start", status.uptimeMs / 1000);
  gauge("process_resident_memory_bytes", "Resident memory", process.memoryUsage.rss());
  lines.push("# HELP relay_connections_by_state Open connections by state", "# TYPE relay_connections_by_state gauge");
  for (const state of STATE_NAMES) {
    lines.push(
      `relay_connections_by_state{state="${state}"} ${connections.filter((each) => each.state === state).length}`,
    );
  }
  const workers = Array.from({ length: proxy.workers }, (_, index) => index + 1);
  const counters = workers.map((worker) => proxy.countersOf(worker));
  for (const [counter, name, help] of COUNTED) {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} counter`);
    for (const worker of workers) lines.push(`${name}{worker="${worker}"} ${counters[worker - 1][counter]}`);
  }
  return `${lines.join("\n")}\n`;
}
