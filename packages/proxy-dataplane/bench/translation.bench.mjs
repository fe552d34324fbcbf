// What translating sources, and each thing the path may do, costs established flows: beside the same path without it.
import { makeEcho } from "./common.mjs";

const SIZE = 256;
const translation = { source: [{ to: ["203.0.113.1-203.0.113.4"] }] };

const beside = (name, options, tcp = false) => ({
  name,
  unit: "Mpackets/s",
  ops: SIZE,
  setup: async () => ({
    ours: makeEcho({ size: SIZE, tcp, ...options }).run,
    peers: { without: makeEcho({ size: SIZE, tcp }).run },
  }),
});

export default [
  beside("sources translated too, UDP", { more: { translation } }),
  beside("sources translated too, TCP", { more: { translation } }, true),
  beside("an MTU of 1500 and segment sizes clamped, TCP", { network: { mtu: 1500, clampMss: true } }, true),
  beside("checksums verified, 64-byte UDP", { network: { checksums: "drop" } }),
];
