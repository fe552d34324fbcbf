import { accessSync, constants } from "node:fs";
import { readFile } from "node:fs/promises";
import { parseAddress } from "../addresses.ts";
import type { Endpoint } from "../relay/engine.ts";

const FILE = "/proc/net/nf_conntrack";

/** Whether the kernel lists the connections that it follows. Only root may read it. */
export function hasConntrack(): boolean {
  try {
    accessSync(FILE, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** Where a connection from `remote` to `local` went before it was redirected, by the kernel's list; undefined: it is not there. */
export async function originalFromConntrack(remote: Endpoint, local: Endpoint): Promise<Endpoint | undefined> {
  return originalInList(await readFile(FILE, "latin1"), remote, local);
}

/**
 * The same, in the text of a list. A line has the ends of both directions, each seen from who sends:
 *
 *     ipv4 2 tcp 6 … src=CLIENT dst=ORIGINAL sport=… dport=… src=PROXY dst=CLIENT sport=… dport=… …
 */
export function originalInList(list: string, remote: Endpoint, local: Endpoint): Endpoint | undefined {
  // Cheap first: whole lines are taken apart only where the ports fit.
  const ports = `sport=${local.port} dport=${remote.port} `;
  for (let at = list.indexOf(ports); at >= 0; at = list.indexOf(ports, at + 1)) {
    const start = list.lastIndexOf("\n", at) + 1;
    const end = list.indexOf("\n", at);
    const line = list.slice(start, end < 0 ? undefined : end);
    const original = originalInLine(line, remote, local);
    if (original !== undefined) return original;
  }
  return undefined;
}

const LINE =
  /^ipv([46]) +\d+ tcp .*?src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+) .*?src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+) /;

function originalInLine(line: string, remote: Endpoint, local: Endpoint): Endpoint | undefined {
  const match = LINE.exec(line);
  if (match === null) return undefined;
  const [, version, client, host, clientPort, port, proxy, , proxyPort] = match;
  const fits =
    isSame(client, remote.host) &&
    isSame(proxy, local.host) &&
    Number(clientPort) === remote.port &&
    Number(proxyPort) === local.port;
  return fits ? { family: version === "6" ? 6 : 4, host, port: Number(port) } : undefined;
}

const words = new Int32Array(8);

/** The list writes IPv6 addresses out in full. */
function isSame(one: string, other: string): boolean {
  if (one === other) return true;
  const families = [parseAddress(one, words, 0), parseAddress(other, words, 4)];
  return families.every((family) => family === 6) && [0, 1, 2, 3].every((at) => words[at] === words[4 + at]);
}
