import { parseAddress, parsePrefix } from "../addresses.ts";
import { DataplaneError } from "../errors.ts";
import { serverName, validateProxyConfig } from "../policy/validate.ts";
import type { ListenerConfig, RelayConfig } from "./config.ts";
import type { Endpoint } from "./engine.ts";
import { parseAuthority } from "./http-head.ts";
import { ParsedRequest } from "./request.ts";

const MAX_LISTENERS = 64;
const MAX_WORKERS = 256;
const MAX_USERS = 10_000;
const MAX_TIMEOUT_MS = 7 * 24 * 3600 * 1000;
const KINDS = ["mixed", "socks", "http", "forward", "udp", "redirect", "tproxy"];
const MAX_UDP_FLOWS = 28_000;

/**
 * Throws `DATAPLANE_INVALID_CONFIG`, with a JSON pointer to the member, unless `value` is a valid configuration of a proxy.
 *
 * @public
 */
export function validateRelayConfig(value: RelayConfig): void {
  object(value, "", MEMBERS);
  if (value.version !== 1) throw invalid("/version", "the version must be 1");
  validateListeners(value);
  validateUsers(value.users);
  if (value.targets !== undefined) validateTargets(value.targets);
  numbers(value.timeouts, "/timeouts", TIMEOUTS, MAX_TIMEOUT_MS);
  numbers(value.limits, "/limits", ["connections", "connectionsPerClient", "udpFlows"], 2 ** 22);
  // Each flow has a port of its own, and the system has some 28 000 to give.
  optional(value.limits?.udpFlows, "/limits/udpFlows", (n) => (n as number) >= 1 && (n as number) <= MAX_UDP_FLOWS);
  if (value.dns !== undefined) validateDns(value.dns);
  validatePolicy(value);
  optional(value.workers, "/workers", (n) => Number.isInteger(n) && (n as number) >= 1 && (n as number) <= MAX_WORKERS);
  optional(value.engine, "/engine", (name) => ["auto", "node", "epoll"].includes(name as string));
  for (const name of ["accessLog", "control", "pcap"] as const) {
    optional(value[name], `/${name}`, (path) => typeof path === "string" && path !== "");
  }
  optional(value.metrics, "/metrics", (text) => typeof text === "string" && listenEndpoint(text) !== undefined);
}

const MEMBERS = [
  "version",
  "listeners",
  "users",
  "targets",
  "timeouts",
  "limits",
  "policy",
  "chains",
  "retries",
  "health",
  "dns",
  "workers",
  "engine",
  "accessLog",
  "control",
  "metrics",
  "pcap",
];
const TIMEOUTS = ["handshakeMs", "connectMs", "upstreamMs", "idleMs", "halfClosedMs", "udpIdleMs", "peekMs", "drainMs"];
const LISTENER_MEMBERS = [
  "name",
  "kind",
  "listen",
  "target",
  "authenticate",
  "acceptProxyProtocol",
  "sendProxyProtocol",
  "peek",
];

function validateListeners(value: RelayConfig): void {
  const { listeners } = value;
  if (!Array.isArray(listeners) || listeners.length < 1 || listeners.length > MAX_LISTENERS) {
    throw invalid("/listeners", `a configuration has 1 to ${MAX_LISTENERS} listeners`);
  }
  const names = new Set<string>();
  for (const [index, listener] of (listeners as readonly ListenerConfig[]).entries()) {
    const path = `/listeners/${index}`;
    validateListener(listener, path, value);
    const name = listenerName(listener);
    if (names.has(name)) throw invalid(path, `two listeners are named ${name}`);
    names.add(name);
  }
}

function validateListener(listener: ListenerConfig, path: string, value: RelayConfig): void {
  object(listener, path, LISTENER_MEMBERS);
  if (!KINDS.includes(listener.kind)) throw invalid(`${path}/kind`, `kind is one of ${KINDS.join(", ")}`);
  if (typeof listener.listen !== "string" || listenEndpoint(listener.listen) === undefined) {
    throw invalid(`${path}/listen`, "listen is address:port, a port, or unix:/path");
  }
  for (const name of ["authenticate", "acceptProxyProtocol", "peek"] as const) {
    optional(listener[name], `${path}/${name}`, (on) => typeof on === "boolean");
  }
  validateKind(listener, path);
  if (listener.authenticate === true && value.users === undefined) {
    throw invalid(`${path}/authenticate`, "there are no users");
  }
  optional(listener.sendProxyProtocol, `${path}/sendProxyProtocol`, (v) => v === "v1" || v === "v2");
  optional(listener.name, `${path}/name`, (name) => typeof name === "string" && name !== "" && name.length <= 64);
}

/** What a kind of listener needs and cannot have. */
function validateKind({ kind, listen, target, ...rest }: ListenerConfig, path: string): void {
  const needsTarget = kind === "forward" || kind === "udp";
  const parsedTarget = typeof target === "string" ? targetOf(target) : undefined;
  if (needsTarget && parsedTarget === undefined) throw invalid(`${path}/target`, "target is host:port or unix:/path");
  if (!needsTarget && target !== undefined) throw invalid(`${path}/target`, "only forward and udp have a target");
  const isPath = listenEndpoint(listen)?.family === 0;
  if (kind === "udp" && parsedTarget?.isPath === true) throw invalid(`${path}/target`, "UDP has no Unix sockets");
  const isTransparent = kind === "redirect" || kind === "tproxy";
  if ((kind === "udp" || isTransparent) && isPath) throw invalid(`${path}/listen`, `${kind} is of addresses`);
  if (kind === "udp" && rest.peek === true) throw invalid(`${path}/peek`, "datagrams are not looked at");
  for (const name of ["authenticate", "acceptProxyProtocol", "sendProxyProtocol"] as const) {
    const isOfDatagrams = kind === "udp" && name === "sendProxyProtocol";
    const isHandshake = (kind === "udp" || isTransparent) && name !== "sendProxyProtocol";
    if ((isOfDatagrams || isHandshake) && rest[name] !== undefined && rest[name] !== false) {
      throw invalid(`${path}/${name}`, `${kind} has no handshake`);
    }
  }
}

/** The name of a listener. */
export function listenerName(listener: ListenerConfig): string {
  return listener.name ?? `${listener.kind} ${listener.listen}`;
}

function validateUsers(users: RelayConfig["users"]): void {
  if (users === undefined) return;
  object(users, "/users");
  const entries = Object.entries(users);
  if (entries.length > MAX_USERS) throw invalid("/users", `at most ${MAX_USERS} users`);
  for (const [name, password] of entries) {
    const fits = (text: unknown): boolean => typeof text === "string" && text.length > 0 && text.length <= 255;
    if (!fits(name) || name.includes(":")) throw invalid("/users", "a user's name has 1 to 255 characters, no colon");
    if (!fits(password)) throw invalid(`/users/${name}`, "a password has 1 to 255 characters");
  }
}

function validateTargets(targets: NonNullable<RelayConfig["targets"]>): void {
  object(targets, "/targets", ["allowPrivate", "allow"]);
  optional(targets.allowPrivate, "/targets/allowPrivate", (on) => typeof on === "boolean");
  if (targets.allow === undefined) return;
  if (!Array.isArray(targets.allow) || targets.allow.length > 1024)
    throw invalid("/targets/allow", "a list of networks");
  for (const [index, network] of targets.allow.entries()) {
    if (typeof network !== "string" || parsePrefix(network) === undefined) {
      throw invalid(`/targets/allow/${index}`, "is no network: an address, or address/bits");
    }
  }
}

function validatePolicy({ policy, chains = {}, retries, health }: RelayConfig): void {
  optional(retries, "/retries", (n) => Number.isInteger(n) && (n as number) >= 0 && (n as number) <= 16);
  numbers(health, "/health", ["passiveFailures", "intervalMs", "timeoutMs"], MAX_TIMEOUT_MS);
  if (policy !== undefined) below("/policy", () => validateProxyConfig(policy));
  const servers = policy?.servers ?? [];
  const names = servers.map(serverName);
  const https = servers.findIndex(({ type }) => type === "https");
  if (https >= 0) throw invalid(`/policy/servers/${https}/type`, "a proxy does not speak to https servers");
  object(chains, "/chains");
  for (const [name, before] of Object.entries(chains)) {
    if (!names.includes(name)) throw invalid(`/chains/${name}`, "there is no such server");
    const isChain =
      Array.isArray(before) && before.length <= 8 && before.every((each) => names.includes(each) && each !== name);
    if (!isChain) throw invalid(`/chains/${name}`, "is no list of at most 8 names of other servers");
  }
}

/** An error of a part names the member as the whole does. */
function below(path: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof DataplaneError)) throw error;
    throw new DataplaneError(error.code, error.message, { path: path + (error.location.path ?? "") }, { cause: error });
  }
}

function validateDns(dns: NonNullable<RelayConfig["dns"]>): void {
  object(dns, "/dns", ["ttlMs", "negativeTtlMs", "entries", "family", "attemptDelayMs"]);
  const { family, ...rest } = dns;
  optional(family, "/dns/family", (name) => ["any", "ipv4", "ipv6"].includes(name as string));
  numbers(rest, "/dns", ["ttlMs", "negativeTtlMs", "entries", "attemptDelayMs"], MAX_TIMEOUT_MS);
}

function numbers(value: object | undefined, path: string, names: readonly string[], most: number): void {
  if (value === undefined) return;
  object(value, path, names);
  for (const [name, number] of Object.entries(value) as [string, unknown][]) {
    optional(number, `${path}/${name}`, (n) => Number.isInteger(n) && (n as number) >= 0 && (n as number) <= most);
  }
}

function object(value: unknown, path: string, members?: readonly string[]): void {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid(path, "must be an object");
  for (const name of Object.keys(value)) {
    if (members !== undefined && !members.includes(name)) throw invalid(`${path}/${name}`, "there is no such member");
  }
}

function optional(value: unknown, path: string, holds: (value: unknown) => boolean): void {
  if (value !== undefined && !holds(value)) throw invalid(path, `${JSON.stringify(value)} cannot be used`);
}

function invalid(path: string, message: string): DataplaneError {
  return new DataplaneError("DATAPLANE_INVALID_CONFIG", message, { path });
}

const parsed = new ParsedRequest();

/** Where to listen, from text; undefined where it says nothing of the kind. A port alone is on the loopback address. */
export function listenEndpoint(text: string): Endpoint | undefined {
  if (text.startsWith("unix:")) return text.length > 5 ? { family: 0, host: text.slice(5), port: 0 } : undefined;
  if (/^\d{1,5}$/.test(text)) {
    return Number(text) <= 65535 ? { family: 4, host: "127.0.0.1", port: Number(text) } : undefined;
  }
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  if (match === null || Number(match[3]) > 65535) return undefined;
  const host = match[1] ?? match[2];
  const family = parseAddress(host, words, 0);
  if (family === 0 || (family === 6) !== (match[1] !== undefined)) return undefined;
  return { family, host, port: Number(match[3]) };
}

const words = new Int32Array(4);

/** A target from text: `host:port`, where the host may be a name (then `family` is 0), or `unix:/path`. */
export interface Target {
  readonly host: string;
  readonly port: number;
  readonly family: 0 | 4 | 6;
  readonly isPath: boolean;
}

export function targetOf(text: string): Target | undefined {
  if (text.startsWith("unix:"))
    return text.length > 5 ? { host: text.slice(5), port: 0, family: 0, isPath: true } : undefined;
  if (!parseAuthority(text, 0, parsed)) return undefined;
  return { host: parsed.host, port: parsed.port, family: parsed.family, isPath: false };
}
