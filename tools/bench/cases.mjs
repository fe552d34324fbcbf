// The format of packages/*/bench/*.bench.mjs: a default export of a list of cases
//   { name, unit, ops?, ours, peers }                                   one call of a function is `ops` operations (1 unless given)
//   { name, unit, ops?, setup: async () => ({ ours, peers, teardown? }) }   the same, made just before the measurement
// `unit` is a time per operation ("ns/op", "µs/op", "ms/op") or a rate ("op/s", "Mop/s", "packets/s" …).
import { measureAlternately } from "./measure.mjs";

const NS_PER = { ns: 1, µs: 1e3, us: 1e3, ms: 1e6, s: 1e9 };
const RATE_FACTOR = { k: 1e3, M: 1e6, G: 1e9 };

/** Throws with the member that is wrong, where a bench file is not what the format says. */
export function checkCases(cases) {
  if (!Array.isArray(cases) || cases.length === 0) throw new Error("the default export must be a list of cases");
  for (const [index, item] of cases.entries()) {
    const where = `case ${index} (${item?.name ?? "without a name"})`;
    if (typeof item?.name !== "string") throw new Error(`${where}: «name» must be a text`);
    unitOf(item.unit, where);
    if (item.ops !== undefined && !(item.ops > 0)) throw new Error(`${where}: «ops» must be a positive number`);
    if (typeof item.setup !== "function" && typeof item.ours !== "function")
      throw new Error(`${where}: «ours» or «setup» must be a function`);
  }
}

/** Measures one case. Returns `{ name, unit, ours, peers, ratio }`; a ratio above 1 always means that ours is better than the best peer. */
export async function runCase(item, options) {
  const made = item.setup === undefined ? item : await item.setup();
  const { convert, higherIsBetter } = unitOf(item.unit, item.name);
  try {
    const functions = { ours: made.ours };
    for (const [peer, fn] of Object.entries(made.peers ?? {})) functions[`peer ${peer}`] = fn;
    const nanoseconds = await measureAlternately(functions, options);
    const value = (name) => convert(nanoseconds[name] / (item.ops ?? 1));
    const peers = Object.fromEntries(Object.keys(made.peers ?? {}).map((peer) => [peer, value(`peer ${peer}`)]));
    const ours = value("ours");
    return {
      name: item.name,
      unit: item.unit,
      ours,
      peers,
      ratio: ratioToBest(ours, Object.values(peers), higherIsBetter),
    };
  } finally {
    await made.teardown?.();
  }
}

/** Best peer ÷ ours for times, ours ÷ best peer for rates; null without a peer. */
export function ratioToBest(ours, peers, higherIsBetter) {
  if (peers.length === 0) return null;
  return higherIsBetter ? ours / Math.max(...peers) : Math.min(...peers) / ours;
}

/** How nanoseconds per operation become the unit's figure. */
export function unitOf(unit, where) {
  const time = /^(ns|µs|us|ms|s)\/\S+$/.exec(unit ?? "");
  if (time !== null) return { convert: (ns) => ns / NS_PER[time[1]], higherIsBetter: false };
  const rate = /^([kMG]?)[ -]?[a-z]+\/s$/.exec(unit ?? "");
  if (rate !== null) return { convert: (ns) => 1e9 / ns / (RATE_FACTOR[rate[1]] ?? 1), higherIsBetter: true };
  throw new Error(
    `${where}: «unit» must be a time per operation ("ns/op") or a rate ("op/s"), not ${JSON.stringify(unit)}`,
  );
}
