import { parsePrefix } from "../addresses.ts";
import { schemaOf, type Shape } from "../policy/shape.ts";
import { POLICY_SHAPE } from "../policy/validate.ts";
import { listenEndpoint, targetOf } from "./endpoints-text.ts";

const MAX_LISTENERS = 64;
const MAX_WORKERS = 256;
const MAX_USERS = 10_000;
const MAX_ALLOWED = 1024;
const MAX_CHAIN = 8;
const MAX_SERVERS = 64;
const MAX_RETRIES = 16;
const MAX_CONNECTIONS = 2 ** 22;
/** Each flow has a port of its own, and the system has some 28 000 to give. */
const MAX_UDP_FLOWS = 28_000;
const MAX_DNS_ENTRIES = 2 ** 20;
const MAX_TIMEOUT_MS = 7 * 24 * 3600 * 1000;
const MAX_PATH = 4096;

const bool: Shape = { kind: "boolean" };
const integer = (least: number, most: number): Shape => ({ kind: "integer", least, most });
const choice = (...values: readonly (string | number)[]): Shape => ({ kind: "choice", values });
const text = (what: string, most: number, accepts?: (value: string) => boolean): Shape & { kind: "text" } => ({
  kind: "text",
  what,
  most,
  ...(accepts === undefined ? {} : { accepts }),
});
const object = (members: Readonly<Record<string, Shape>>, required?: readonly string[]): Shape => ({
  kind: "object",
  members,
  ...(required === undefined ? {} : { required }),
});
const milliseconds = (...names: readonly string[]): Readonly<Record<string, Shape>> =>
  Object.fromEntries(names.map((name) => [name, integer(0, MAX_TIMEOUT_MS)]));

const listenText = text(
  "where to listen: address:port, [address]:port, a port, or unix:/path",
  MAX_PATH,
  (value) => listenEndpoint(value) !== undefined,
);
const path = text("a path", MAX_PATH);
const serverName = text("a server's name", 320);

const LISTENER = object(
  {
    name: text("a name", 64),
    kind: choice("mixed", "socks", "http", "forward", "udp", "redirect", "tproxy"),
    listen: listenText,
    target: text("a target: host:port or unix:/path", MAX_PATH, (value) => targetOf(value) !== undefined),
    authenticate: bool,
    acceptProxyProtocol: bool,
    sendProxyProtocol: choice("v1", "v2"),
    peek: bool,
  },
  ["kind", "listen"],
);

/** A proxy's configuration; `validateRelayConfig` and the published JSON Schema are made of it. */
export const RELAY_SHAPE: Shape = object(
  {
    version: choice(1),
    listeners: { kind: "array", item: LISTENER, least: 1, most: MAX_LISTENERS },
    users: {
      kind: "map",
      key: { kind: "text", what: "a user's name, without a colon", most: 255, pattern: "^[^:]+$" },
      value: text("a password", 255),
      most: MAX_USERS,
    },
    targets: object({
      allowPrivate: bool,
      allow: {
        kind: "array",
        item: text("a network such as 10.0.0.0/8", 49, (value) => parsePrefix(value) !== undefined),
        most: MAX_ALLOWED,
      },
    }),
    timeouts: object(
      milliseconds(
        "handshakeMs",
        "connectMs",
        "upstreamMs",
        "idleMs",
        "halfClosedMs",
        "udpIdleMs",
        "peekMs",
        "drainMs",
      ),
    ),
    limits: object({
      connections: integer(0, MAX_CONNECTIONS),
      connectionsPerClient: integer(0, MAX_CONNECTIONS),
      udpFlows: integer(1, MAX_UDP_FLOWS),
    }),
    policy: POLICY_SHAPE,
    chains: {
      kind: "map",
      key: serverName,
      value: { kind: "array", item: serverName, most: MAX_CHAIN },
      most: MAX_SERVERS,
    },
    retries: integer(0, MAX_RETRIES),
    health: object({ passiveFailures: integer(0, 1_000_000), ...milliseconds("intervalMs", "timeoutMs") }),
    dns: object({
      ...milliseconds("ttlMs", "negativeTtlMs", "attemptDelayMs"),
      entries: integer(0, MAX_DNS_ENTRIES),
      family: choice("any", "ipv4", "ipv6"),
    }),
    workers: integer(1, MAX_WORKERS),
    engine: choice("auto", "node", "epoll"),
    accessLog: path,
    control: path,
    metrics: listenText,
    pcap: path,
  },
  ["version", "listeners"],
);

/**
 * The JSON Schema (draft 7) of a `RelayConfig`. It accepts whatever `validateRelayConfig` accepts; what it cannot say is the form of
 * addresses, what a kind of listener needs, that names are unique, and that servers exist.
 *
 * @public
 */
export function relayConfigSchema(): object {
  const title = "Configuration of a proxy on real sockets";
  return { $schema: "http://json-schema.org/draft-07/schema#", title, ...schemaOf(RELAY_SHAPE) };
}
