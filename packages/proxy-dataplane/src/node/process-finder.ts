import { readdir, readFile, readlink, stat } from "node:fs/promises";
import { parseAddress } from "../addresses.ts";
import type { ProcessFacts } from "../policy/config.ts";
import type { Endpoint } from "../relay/engine.ts";

const ESTABLISHED = "01";
/** Processes that had connections lately are looked at first: who connects once connects again. */
const MAX_RECENT = 64;

/** A socket in `/proc/net/tcp`. */
export interface ListedSocket {
  readonly uid: number;
  readonly inode: string;
}

/** Finds the process behind a connection of this host: `/proc/net/tcp` says the socket, and one of `/proc/PID/fd` is it. */
export class ProcessFinder {
  #recent: string[] = [];

  /** The process whose connection goes from `client` to `destination`; undefined: none that this process may look at. */
  async find(client: Endpoint, destination: Endpoint): Promise<ProcessFacts | undefined> {
    // An IPv6 socket with an IPv4 peer is in the list for IPv6.
    const lists = client.family === 6 ? ["/proc/net/tcp6"] : ["/proc/net/tcp", "/proc/net/tcp6"];
    for (const list of lists) {
      const socket = findSocket(await readFile(list, "latin1"), client, destination);
      if (socket !== undefined) return this.#owner(socket);
    }
    return undefined;
  }

  async #owner({ uid, inode }: ListedSocket): Promise<ProcessFacts> {
    const link = `socket:[${inode}]`;
    const recent = new Set(this.#recent);
    const all = (await readdir("/proc")).filter((name) => /^\d+$/.test(name) && !recent.has(name));
    for (const pid of [...this.#recent, ...all.toReversed()]) {
      if (!(await holds(pid, uid, link))) continue;
      this.#recent = [pid, ...this.#recent.filter((each) => each !== pid)].slice(0, MAX_RECENT);
      return factsOf(pid, uid);
    }
    return { uid };
  }
}

/** Whether the process has the socket open; processes of other users are not looked into. */
async function holds(pid: string, uid: number, link: string): Promise<boolean> {
  try {
    if ((await stat(`/proc/${pid}`)).uid !== uid) return false;
    for (const fd of await readdir(`/proc/${pid}/fd`)) {
      if ((await readlink(`/proc/${pid}/fd/${fd}`).catch(() => "")) === link) return true;
    }
  } catch {
    // It has ended, or is not to be looked at.
  }
  return false;
}

async function factsOf(pid: string, uid: number): Promise<ProcessFacts> {
  const text = (name: string): Promise<string> => readFile(`/proc/${pid}/${name}`, "utf8").catch(() => "");
  const [comm, status, cgroup, path] = await Promise.all([
    text("comm"),
    text("status"),
    text("cgroup"),
    readlink(`/proc/${pid}/exe`).catch(() => ""),
  ]);
  const gid = /^Gid:\t(\d+)/m.exec(status)?.[1];
  const group = /^0::(.+)$/m.exec(cgroup)?.[1];
  return {
    pid: Number(pid),
    uid,
    ...(gid === undefined ? {} : { gid: Number(gid) }),
    ...(comm === "" ? {} : { comm: comm.trimEnd() }),
    ...(path === "" ? {} : { path }),
    ...(group === undefined ? {} : { cgroup: group }),
  };
}

/** The client's socket in the text of `/proc/net/tcp` or `tcp6`; that to `destination` before others with the same own end. */
export function findSocket(list: string, client: Endpoint, destination: Endpoint): ListedSocket | undefined {
  const own = ends(client);
  const far = ends(destination);
  let found: ListedSocket | undefined;
  for (const line of list.split("\n")) {
    const [, local, remote, state, , , , uid, , inode] = line.trim().split(/\s+/);
    if (state !== ESTABLISHED || !own.includes(local)) continue;
    found = { uid: Number(uid), inode };
    if (far.includes(remote)) return found;
  }
  return found;
}

const words = new Int32Array(4);

/** An end as the lists write it: words of the address in the host's byte order (little-endian here), an IPv4 one also in IPv6 form. */
function ends({ host, port }: Endpoint): string[] {
  const family = parseAddress(host, words, 0);
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  if (family === 6) return [Array.from(words, swappedHex).join("") + suffix];
  const ipv4 = swappedHex(words[0]);
  return [ipv4 + suffix, `0000000000000000FFFF0000${ipv4}${suffix}`];
}

function swappedHex(word: number): string {
  const swapped = ((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
  return (swapped >>> 0).toString(16).toUpperCase().padStart(8, "0");
}
