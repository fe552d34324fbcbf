// Deciding what becomes of a new flow, and choosing its server; beside the same by plain means and by the usual packages.
import ConsistentHash from "consistent-hash";
import ipaddr from "ipaddr.js";
import {
  compilePolicy,
  FlowFacts,
  parseAddress,
  PolicyEngine,
  ProtocolDetector,
  proxyConfigCell,
} from "@x/proxy-dataplane";
import { Rcu } from "@x/rcu";
import { warmUp } from "./common.mjs";

const FLOWS = 256;
const servers = (count) =>
  Array.from({ length: count }, (_, at) => ({
    type: "socks5",
    address: `192.0.2.${at + 1}`,
    port: 1080,
    weight: 1 + (at % 4),
  }));

/** Rules as they are in practice: a destination network and a port, some with a source; the last holds for few flows. */
function addressRules(count) {
  return Array.from({ length: count }, (_, i) => ({
    action: i % 3 === 0 ? "drop" : "direct",
    destination: [`${20 + (i >> 8)}.${i & 255}.0.0/${16 + (i % 9)}`],
    ...(i % 2 === 0 ? { ports: [443, "8000-8999"] } : {}),
    ...(i % 5 === 0 ? { source: ["10.0.0.0/8", "172.16.0.0/12"] } : {}),
  }));
}

function flowsTo(count) {
  return Array.from({ length: FLOWS }, (_, i) => ({
    source: `10.0.${i & 7}.${i}`,
    destination: `${20 + (((i * 7) % count) >> 8)}.${(i * 7) % Math.min(256, count)}.0.${i & 3}`,
    port: i % 3 === 0 ? 443 : 80,
  }));
}

function keysOf(flows) {
  const keys = new Int32Array(flows.length * 10);
  flows.forEach(({ source, destination, port }, i) => {
    parseAddress(source, keys, i * 10);
    parseAddress(destination, keys, i * 10 + 4);
    keys[i * 10 + 8] = (40000 << 16) | port;
    keys[i * 10 + 9] = 6;
  });
  return keys;
}

/** Rules one after another over numbers: how one writes it at first. */
function linear(rules) {
  const toNumber = (text) => text.split(".").reduce((value, part) => (value << 8) | Number(part), 0) >>> 0;
  const network = (text) => {
    const [base, bits] = text.split("/");
    return { base: toNumber(base), mask: (-1 << (32 - Number(bits))) >>> 0 };
  };
  const range = (ports) => (typeof ports === "number" ? [ports, ports] : ports.split("-").map(Number));
  const made = rules.map(({ source, destination, ports }) => ({
    source: source?.map(network),
    destination: destination?.map(network),
    ports: ports?.map(range),
  }));
  const inside = ({ base, mask }, address) => (address & mask) >>> 0 === (base & mask) >>> 0;
  return (keys, at) =>
    made.findIndex(
      ({ source, destination, ports }) =>
        (source === undefined || source.some((one) => inside(one, keys[at]))) &&
        (destination === undefined || destination.some((one) => inside(one, keys[at + 4]))) &&
        (ports === undefined ||
          ports.some(([first, last]) => (keys[at + 8] & 0xffff) >= first && (keys[at + 8] & 0xffff) <= last)),
    );
}

/** The same with parsed addresses of ipaddr.js. */
function byIpaddr(rules) {
  const made = rules.map(({ source, destination, ports }) => ({
    source: source?.map((one) => ipaddr.parseCIDR(one)),
    destination: destination?.map((one) => ipaddr.parseCIDR(one)),
    ports: ports?.map((one) => (typeof one === "number" ? [one, one] : one.split("-").map(Number))),
  }));
  return ({ source: from, destination: to, port }) =>
    made.findIndex(
      ({ source, destination, ports }) =>
        (source === undefined || source.some((one) => from.match(one))) &&
        (destination === undefined || destination.some((one) => to.match(one))) &&
        (ports === undefined || ports.some(([first, last]) => port >= first && port <= last)),
    );
}

const each = (run) => () => {
  let sum = 0;
  for (let i = 0; i < FLOWS; i++) sum += run(i);
  return sum;
};

const rulesCase = (count) => ({
  name: `decide a flow by ${count} address rules`,
  unit: "ns/op",
  ops: FLOWS,
  setup: async () => {
    const rules = addressRules(count);
    const flows = flowsTo(count);
    const keys = keysOf(flows);
    const policy = compilePolicy({ version: 1, selection: "random", servers: servers(2), rules });
    const naive = linear(rules);
    const parsed = flows.map((flow) => ({
      ...flow,
      source: ipaddr.parse(flow.source),
      destination: ipaddr.parse(flow.destination),
    }));
    const usual = byIpaddr(rules);
    const ours = each((i) => policy.route(keys, i * 10));
    const peers = {
      "linear over numbers": each((i) => naive(keys, i * 10)),
      "ipaddr.js": each((i) => usual(parsed[i])),
    };
    for (const run of [ours, ...Object.values(peers)]) warmUp(run);
    return { ours, peers };
  },
});

const hostsCase = (count) => ({
  name: `decide a flow by ${count} host names`,
  unit: "ns/op",
  ops: FLOWS,
  setup: async () => {
    const hosts = Array.from({ length: count }, (_, i) => `${i % 2 === 0 ? "*." : ""}site${i}.example.com`);
    const rules = hosts.map((host) => ({ action: "drop", hosts: [host] }));
    const policy = compilePolicy({ version: 1, selection: "random", servers: servers(2), rules });
    const names = Array.from(
      { length: FLOWS },
      (_, i) => `${i % 2 === 0 ? "www." : ""}site${(i * 3) % count}.example.com`,
    );
    const keys = keysOf(flowsTo(count));
    const facts = names.map((name) => new FlowFacts().setName(name));
    const patterns = hosts.map((host) => new RegExp(`^${host.replaceAll(".", "\\.").replace("*", ".*")}$`, "i"));
    const ours = each((i) => policy.route(keys, i * 10, facts[i]));
    const peers = { "regular expressions": each((i) => patterns.findIndex((one) => one.test(names[i]))) };
    for (const run of [ours, ...Object.values(peers)]) warmUp(run);
    return { ours, peers };
  },
});

const selectionCase = (selection, count) => ({
  name: `choose one of ${count} servers, ${selection}`,
  unit: "ns/op",
  ops: FLOWS,
  setup: async () => {
    const list = servers(count);
    const engine = PolicyEngine.create({
      config: proxyConfigCell({ rcu: Rcu.create(), initial: { version: 1, selection, servers: list } }),
    });
    const policy = engine.current();
    const flows = flowsTo(1000);
    const keys = keysOf(flows);
    const ours = each((i) => engine.choose(policy, 0, keys, i * 10, 4));
    const peers = {};
    if (selection === "maglev") {
      const ring = new ConsistentHash();
      list.forEach(({ address, weight }) => ring.add(address, weight));
      const names = flows.map(({ source, destination, port }) => `${source}:40000-${destination}:${port}`);
      peers["consistent-hash"] = each((i) => ring.get(names[i]).length);
    }
    for (const run of [ours, ...Object.values(peers)]) warmUp(run);
    return { ours, peers };
  },
});

export default [
  rulesCase(10),
  rulesCase(100),
  rulesCase(1000),
  hostsCase(1000),
  ...["round-robin", "weighted", "least-connections", "source-hash", "maglev"].map((one) => selectionCase(one, 8)),
  {
    name: "compile a configuration of 1000 address rules",
    unit: "ms/op",
    setup: async () => {
      const config = { version: 1, selection: "maglev", servers: servers(8), rules: addressRules(1000) };
      return { ours: () => compilePolicy(config), peers: {} };
    },
  },
  {
    name: "find the host of an HTTP request of 400 bytes",
    unit: "ns/op",
    setup: async () => {
      const text = `GET /index.html HTTP/1.1\r\nUser-Agent: ${"x".repeat(330)}\r\nHost: www.example.com\r\n\r\n`;
      const bytes = new TextEncoder().encode(text);
      const detector = new ProtocolDetector();
      const ours = () => detector.clear().push(bytes);
      const peers = {
        "regular expression on a string": () =>
          /^Host:[ \t]*([^\r\n:]+)/im.exec(Buffer.from(bytes).toString("latin1"))[1].length,
      };
      for (const run of [ours, ...Object.values(peers)]) warmUp(run);
      return { ours, peers };
    },
  },
];
