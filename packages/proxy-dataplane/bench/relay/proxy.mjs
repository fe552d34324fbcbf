// One proxy in a process of its own, all listeners on 127.0.0.1: `node proxy.mjs NAME FIRST-PORT TARGET-PORT`. Ours has rules, counters and
// deadlines on; listeners from FIRST-PORT on lead to TARGET-PORT and the two behind it (bulk, requests, UDP). Peers are asked by their protocol.
import { startProxy } from "@x/proxy-dataplane/node";

const [name, first, target] = process.argv.slice(2);
const port = Number(first);

const forward = (kind, at) => ({
  name: `forward ${at}`,
  kind,
  listen: `127.0.0.1:${port + at}`,
  target: `127.0.0.1:${Number(target) + at}`,
});

const ours = (engine) => () =>
  startProxy({
    version: 1,
    engine,
    workers: 1,
    listeners: [
      forward("forward", 0),
      forward("forward", 1),
      forward("udp", 2),
      { kind: "mixed", listen: `127.0.0.1:${port + 3}` },
    ],
    targets: { allow: ["127.0.0.1"] },
    policy: {
      version: 1,
      selection: "failover",
      servers: [{ type: "socks5", address: "192.0.2.1", port: 1080 }],
      rules: [
        { action: "reject", destination: ["203.0.113.0/24", "198.51.100.0/24"] },
        { action: "reject", ports: [25, "6660-6669"] },
        { action: "direct", source: ["127.0.0.0/8"] },
      ],
      defaultAction: "direct",
    },
  });

/** Peers of npm, by the names of their packages; one that is not installed is left out. */
const started = {
  epoll: ours("epoll"),
  node: ours("node"),
  async "proxy-chain"() {
    const { Server } = await import("proxy-chain");
    await new Server({ port, host: "127.0.0.1" }).listen();
  },
  async "@pondwader/socks5-server"() {
    const { createServer } = await import("@pondwader/socks5-server");
    createServer({ port, hostname: "127.0.0.1" });
  },
  async "simple-socks"() {
    const { default: socks } = await import(name);
    socks.createServer().listen(port, "127.0.0.1");
  },
};

try {
  await started[name]();
  process.send?.("ready");
} catch (error) {
  process.send?.(error.code === "ERR_MODULE_NOT_FOUND" ? "is not installed" : error.message);
}
