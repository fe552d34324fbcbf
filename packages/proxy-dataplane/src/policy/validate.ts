import { parseAddress } from "../addresses.ts";
import type { ProxyConfig, ProxyServer } from "./config.ts";
import { isHostName } from "./host-name.ts";
import {
  MAX_CONDITIONS,
  MAX_GROUPS,
  MAX_LISTED,
  MAX_MAGLEV_SIZE,
  MAX_NAME_BYTES,
  MAX_PORT,
  MAX_RULES,
  MAX_SERVERS,
  MAX_WEIGHT,
} from "./limits.ts";
import { ADDRESS_CLASSES, parseNetwork, parsePorts } from "./networks.ts";
import { checkShape, invalidConfig, schemaOf, type Shape } from "./shape.ts";
import { checkTranslation, TRANSLATION } from "./translation-shape.ts";

const MAX_ID = 0xffff_ffff;
const MAX_RATE = 1e9;
const MAX_COUNT = 1e6;

const SELECTIONS = [
  "round-robin",
  "failover",
  "random",
  "weighted",
  "weighted-random",
  "least-connections",
  "source-hash",
  "maglev",
];

const integer = (least: number, most: number): Shape => ({ kind: "integer", least, most });
const choice = (...values: readonly string[]): Shape => ({ kind: "choice", values });
const list = (item: Shape, most: number, least = 0): Shape => ({ kind: "array", item, most, least });
const text = (what: string, most: number, accepts?: (value: string) => boolean): Shape & { kind: "text" } => ({
  kind: "text",
  what,
  most,
  ...(accepts === undefined ? {} : { accepts }),
});

const label = (what: string): Shape & { kind: "text" } => ({
  kind: "text",
  what,
  most: 64,
  pattern: "^[^\\u0000-\\u001f]+$",
});
const network = text("a network such as 10.0.0.0/8 or 2001:db8::/32", 49, (value) => parseNetwork(value) !== undefined);
const ports: Shape = {
  kind: "either",
  shapes: [
    integer(0, MAX_PORT),
    {
      kind: "text",
      what: "a range of ports such as 8000-8999",
      most: 11,
      pattern: "^\\d{1,5}-\\d{1,5}$",
      accepts: (value) => parsePorts(value) !== undefined,
    },
  ],
};
const hostPattern = text("a host name, *.suffix or *", MAX_NAME_BYTES + 2, (value) =>
  value === "*" ? true : isHostName(value.startsWith("*.") ? value.slice(2) : value),
);
/** RFC 1929 has one octet for each length; control characters would end a header of HTTP. */
const credential: Shape = {
  kind: "text",
  what: "1 to 255 characters without control characters",
  most: 255,
  pattern: "^[^\\u0000-\\u001f\\u007f]+$",
  accepts: (value) => new TextEncoder().encode(value).length <= 255,
};

const server: Shape = {
  kind: "object",
  required: ["type", "address", "port"],
  members: {
    name: label("a name"),
    type: choice("socks4", "socks5", "http", "https"),
    address: text("an IPv4 or IPv6 address or a host name", MAX_NAME_BYTES, isServerAddress),
    port: integer(1, MAX_PORT),
    priority: integer(0, MAX_PORT),
    weight: integer(1, MAX_WEIGHT),
    active: { kind: "boolean" },
    groups: list(label("the name of a group"), MAX_GROUPS),
    username: credential,
    password: credential,
  },
};

const conditions = (item: Shape): Shape => list(item, MAX_CONDITIONS, 1);
const rule: Shape = {
  kind: "object",
  required: ["action"],
  members: {
    name: label("a name"),
    action: choice("proxy", "direct", "reject", "drop"),
    group: label("the name of a group"),
    source: conditions(network),
    destination: conditions(network),
    classes: conditions(choice(...ADDRESS_CLASSES)),
    sourcePorts: conditions(ports),
    ports: conditions(ports),
    protocols: conditions({ kind: "either", shapes: [choice("tcp", "udp", "icmp", "icmpv6"), integer(0, 255)] }),
    hosts: conditions(hostPattern),
    users: conditions(text("the name of a user", 255)),
    process: {
      kind: "object",
      members: {
        pid: conditions(integer(0, MAX_ID)),
        uid: conditions(integer(0, MAX_ID)),
        gid: conditions(integer(0, MAX_ID)),
        comm: conditions(text("a command's name", 255)),
        path: conditions(text("the path of an executable, or a folder as /usr/lib/*", 4096)),
        cgroup: conditions(text("a control group", 4096)),
      },
    },
  },
};

const limit: Shape = {
  kind: "object",
  members: {
    connections: integer(0, MAX_COUNT),
    connectionsPerSecond: integer(1, MAX_COUNT),
    connectionBurst: integer(1, MAX_COUNT),
    bytesPerSecond: integer(1, MAX_RATE),
    byteBurst: integer(1, MAX_RATE),
  },
};

/** A configuration; `validateProxyConfig` and the published JSON Schema are made of it. */
export const POLICY_SHAPE: Shape = {
  kind: "object",
  required: ["version", "selection", "servers"],
  members: {
    version: { kind: "choice", values: [1] },
    selection: choice(...SELECTIONS),
    servers: list(server, MAX_SERVERS),
    groups: {
      kind: "map",
      key: label("the name of a group"),
      value: { kind: "object", members: { selection: choice(...SELECTIONS) } },
      most: MAX_GROUPS,
    },
    rules: list(rule, MAX_RULES),
    defaultAction: choice("proxy", "direct", "reject", "drop"),
    withoutServer: choice("direct", "reject", "drop"),
    protocols: list(choice("tcp", "udp"), 2),
    ports: list(ports, MAX_LISTED),
    bypass: list(network, MAX_LISTED),
    bypassClasses: list(choice(...ADDRESS_CLASSES), ADDRESS_CLASSES.length),
    limits: {
      kind: "object",
      members: { perClient: limit, perUser: limit, ipv4Bits: integer(1, 32), ipv6Bits: integer(1, 128) },
    },
    rejectWith: choice("reset", "port-unreachable", "prohibited"),
    translation: TRANSLATION,
    maglevSize: integer(251, MAX_MAGLEV_SIZE),
  },
};

/**
 * Throws `DATAPLANE_INVALID_CONFIG`, with a JSON pointer to the member, unless `value` is a valid configuration.
 *
 * @public
 */
export function validateProxyConfig(value: ProxyConfig): void {
  checkShape(POLICY_SHAPE, value, "");
  checkServers(value.servers);
  checkGroups(value);
  if (value.translation !== undefined) checkTranslation(value.translation);
  const { maglevSize } = value;
  if (maglevSize !== undefined && !isPrime(maglevSize)) throw invalidConfig("/maglevSize", `${maglevSize} is no prime`);
}

/**
 * The JSON Schema (draft 7) of a {@link ProxyConfig}. It accepts whatever {@link validateProxyConfig} accepts; what it cannot
 * say is the form of addresses, names and port ranges, that names are unique, that groups exist, and primes.
 *
 * @public
 */
export function proxyConfigSchema(): object {
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "Configuration of a proxy",
    ...schemaOf(POLICY_SHAPE),
  };
}

function checkServers(servers: readonly ProxyServer[]): void {
  const names = new Map<string, number>();
  servers.forEach((one, index) => {
    const name = serverName(one);
    const other = names.get(name);
    if (other !== undefined) {
      const member = one.name === undefined ? "" : "/name";
      throw invalidConfig(`/servers/${index}${member}`, `server ${other} is named ${name} too; give one another name`);
    }
    names.set(name, index);
    if (one.password !== undefined && one.username === undefined) {
      throw invalidConfig(`/servers/${index}/password`, "a password needs a username");
    }
  });
}

function checkGroups({ servers, groups = {}, rules = [] }: ProxyConfig): void {
  const known = new Set(servers.flatMap((one) => one.groups ?? []));
  if (known.size > MAX_GROUPS) throw invalidConfig("/servers", `${known.size} groups; at most ${MAX_GROUPS}`);
  for (const name of Object.keys(groups)) {
    if (!known.has(name)) {
      const pointer = name.replaceAll("~", "~0").replaceAll("/", "~1");
      throw invalidConfig(`/groups/${pointer}`, `no server belongs to group ${name}`);
    }
  }
  rules.forEach(({ group, action }, index) => {
    if (group === undefined) return;
    if (action !== "proxy")
      throw invalidConfig(`/rules/${index}/group`, `a group needs the action proxy, not ${action}`);
    if (!known.has(group)) throw invalidConfig(`/rules/${index}/group`, `no server belongs to group ${group}`);
  });
}

/** What a server is called: its name, or its type, address and port. */
export function serverName({ name, type, address, port }: ProxyServer): string {
  return name ?? `${type}://${address.includes(":") ? `[${address}]` : address}:${port}`;
}

function isServerAddress(address: string): boolean {
  const words = new Int32Array(4);
  if (parseAddress(address, words, 0) === 0) return isHostName(address);
  return (words[0] | words[1] | words[2] | words[3]) !== 0;
}

function isPrime(value: number): boolean {
  for (let divisor = 2; divisor * divisor <= value; divisor++) if (value % divisor === 0) return false;
  return value > 1;
}
