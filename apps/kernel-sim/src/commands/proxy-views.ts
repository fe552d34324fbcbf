import type { RelayConnection } from "@x/proxy-dataplane";
import { control, type ProxyStatus } from "@x/proxy-dataplane/node";
import Table from "cli-table3";
import { print } from "./input.ts";

/** How a proxy is, for reading. */
export function statusText(status: ProxyStatus): string {
  const state = status.isDraining ? "draining" : "running";
  const lines = [
    `process ${status.pid}, ${state} for ${Math.round(status.uptimeMs / 1000)} s, configuration ${status.configVersion}`,
    `${status.workers} workers, ${status.workersReplaced} replaced`,
    `${status.connections} of at most ${status.connectionsMost} connections`,
    ...status.listeners.map(({ kind, listen }) => `${kind} on ${listen}`),
    ...Object.entries(status.counters).map(([name, value]) => `${name.padEnd(24)}${value}`),
  ];
  return lines.join("\n");
}

/** Connections as a table, most bytes first. */
export function connectionsText(connections: readonly RelayConnection[], most: number = Infinity): string {
  const table = new Table({
    head: ["id", "worker", "state", "age", "client", "target", "by way of", "user", "up", "down"],
    style: { head: [], border: [], compact: true },
  });
  const nowMs = Date.now();
  const sorted = [...connections].sort((a, b) => b.clientBytes + b.serverBytes - a.clientBytes - a.serverBytes);
  for (const each of sorted.slice(0, most)) {
    const age = `${((nowMs - each.startMs) / 1000).toFixed(1)} s`;
    const { id, cpu, state, client, target, upstream, user } = each;
    table.push([
      id,
      cpu,
      state,
      age,
      client,
      target,
      upstream,
      user,
      bytesText(each.clientBytes),
      bytesText(each.serverBytes),
    ]);
  }
  return table.toString();
}

function bytesText(bytes: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  let value = bytes;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** Rates and the busiest connections, again and again until the proxy or the reader goes away. */
export async function proxyTop(path: string, intervalMs: number): Promise<void> {
  let before = (await control(path, "GET", "/status")) as ProxyStatus;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
    const status = (await control(path, "GET", "/status")) as ProxyStatus;
    const connections = (await control(path, "GET", "/connections")) as RelayConnection[];
    const seconds = (status.uptimeMs - before.uptimeMs) / 1000 || 1;
    const rate = (name: keyof ProxyStatus["counters"]): string =>
      ((status.counters[name] - before.counters[name]) / seconds).toFixed(0);
    const clear = process.stdout.isTTY ? "\u001b[2J\u001b[H" : "";
    print(
      `${clear}${status.connections} connections, ${rate("accepted")} accepted/s, ${rate("failed")} failed/s, ` +
        `${rate("dnsLookups")} look-ups/s\n${connectionsText(connections, 30)}`,
    );
    before = status;
  }
}
