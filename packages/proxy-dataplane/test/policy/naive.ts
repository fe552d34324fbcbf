import {
  parseAddress,
  type AddressClass,
  type ProcessFacts,
  type ProxyConfig,
  type ProxyRule,
} from "@x/proxy-dataplane";

/** A flow in words that people use. */
export interface Flow {
  readonly source: string;
  readonly sourcePort: number;
  /** Undefined: only the name is known. */
  readonly destination: string | undefined;
  readonly port: number;
  readonly protocol: number;
  readonly name?: string | undefined;
  readonly user?: string | undefined;
  readonly process?: ProcessFacts | undefined;
}

export const NAMES = ["direct", "proxy", "reject", "drop"] as const;

/** An address as family and number; IPv4 in IPv6 form is IPv4. */
function toNumber(text: string): { family: number; value: bigint } {
  const words = new Int32Array(4);
  const family = parseAddress(text, words, 0);
  if (family === 4) return { family, value: BigInt(words[0] >>> 0) };
  const value = words.reduce((sum, word) => (sum << 32n) + BigInt(word >>> 0), 0n);
  return value >> 32n === 0xffffn ? { family: 4, value: value & 0xffff_ffffn } : { family, value };
}

export function inNetwork(address: string, network: string): boolean {
  const [base, length] = network.split("/");
  const [a, b] = [toNumber(address), toNumber(base)];
  if (a.family !== b.family) return false;
  const most = a.family === 4 ? 32 : 128;
  const own = length === undefined ? most : Number(length) - (b.family === 4 && base.includes(":") ? 96 : 0);
  const shift = BigInt(most - own);
  return a.value >> shift === b.value >> shift;
}

const CLASSES: Record<string, readonly string[]> = {
  loopback: ["127.0.0.0/8", "::1"],
  local: ["127.0.0.0/8", "::1", "0.0.0.0/8", "::", "255.255.255.255"],
  "link-local": ["169.254.0.0/16", "fe80::/10"],
  private: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10"],
  multicast: ["224.0.0.0/4", "ff00::/8"],
};

export function inClass(address: string, name: AddressClass): boolean {
  const is = (one: string): boolean => CLASSES[one].some((network) => inNetwork(address, network));
  return name === "public" ? !Object.keys(CLASSES).some(is) : is(name);
}

function inPorts(port: number, ports: number | string): boolean {
  const [first, last = first] = String(ports).split("-").map(Number);
  return port >= first && port <= last;
}

function namesHost(name: string, pattern: string): boolean {
  const [own, wanted] = [name.toLowerCase().replace(/\.$/, ""), pattern.toLowerCase()];
  if (wanted === "*") return true;
  return wanted.startsWith("*.") ? own.endsWith(wanted.slice(1)) : own === wanted;
}

function holds(rule: ProxyRule, flow: Flow): boolean {
  const numbers = { tcp: 6, udp: 17, icmp: 1, icmpv6: 58 };
  const { process = {} } = rule;
  const facts = flow.process;
  const is = <Pattern, Value>(
    patterns: readonly Pattern[] | undefined,
    value: Value | undefined,
    test: (value: Value, pattern: Pattern) => boolean,
  ): boolean => patterns === undefined || (value !== undefined && patterns.some((one) => test(value, one)));
  const same = <T>(a: T, b: T): boolean => a === b;
  return (
    is(rule.source, flow.source, inNetwork) &&
    is(rule.destination, flow.destination, inNetwork) &&
    is(rule.classes, flow.destination, inClass) &&
    is(rule.sourcePorts, flow.sourcePort, inPorts) &&
    is(rule.ports, flow.port, inPorts) &&
    is(rule.protocols, flow.protocol, (value, one) => value === (typeof one === "number" ? one : numbers[one])) &&
    is(rule.hosts, flow.name, namesHost) &&
    is(rule.users, flow.user, (user, one) => one === "*" || user === one) &&
    is(process.pid, facts?.pid, same) &&
    is(process.uid, facts?.uid, same) &&
    is(process.gid, facts?.gid, same) &&
    is(process.comm, facts?.comm, same) &&
    is(process.path, facts?.path, (path, one) =>
      one.endsWith("/*") ? path.startsWith(one.slice(0, -1)) : path === one,
    ) &&
    is(process.cgroup, facts?.cgroup, (own, one) => own === one || own.startsWith(one === "/" ? "/" : `${one}/`))
  );
}

/** What becomes of a flow, decided by reading the rules one after another. */
export function naiveRoute(config: ProxyConfig, flow: Flow): { rule: number; action: string } {
  const { rules = [], protocols = ["tcp", "udp"], ports, bypass = [], servers } = config;
  const rule = rules.findIndex((one) => holds(one, flow));
  const isTransport = flow.protocol === 6 || flow.protocol === 17;
  let action = rule >= 0 ? rules[rule].action : (config.defaultAction ?? "proxy");
  if (rule < 0 && action === "proxy") {
    const name = flow.protocol === 6 ? "tcp" : "udp";
    if (!isTransport || !protocols.includes(name)) action = "direct";
    if (ports !== undefined && !ports.some((one) => inPorts(flow.port, one))) action = "direct";
  }
  if (action !== "proxy") return { rule, action };
  if (!isTransport) return { rule, action: "direct" };
  const { destination } = flow;
  if (destination === undefined) return { rule, action };
  const classes = config.bypassClasses ?? ["local", "multicast"];
  const isBypassed =
    bypass.some((network) => inNetwork(destination, network)) || classes.some((one) => inClass(destination, one));
  const isServer = servers.some(
    ({ address, port }) =>
      (address === destination && port === flow.port) || (address === flow.source && port === flow.sourcePort),
  );
  return { rule, action: isBypassed || isServer ? "direct" : "proxy" };
}
