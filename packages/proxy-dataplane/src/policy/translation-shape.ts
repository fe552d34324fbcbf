import { parsePrefix } from "../addresses.ts";
import { parseRange } from "../translation/address-pool.ts";
import { MAX_PORT, MAX_TRANSLATIONS } from "./limits.ts";
import { parsePorts } from "./networks.ts";
import { invalidConfig, type Shape } from "./shape.ts";
import type { TranslationConfig } from "./translation-config.ts";

/** Entries of one condition, and addresses or ranges of one pool. A list is searched from its beginning, once for each new flow. */
const MAX_ENTRIES = 64;
const MAX_OWN = 2;

const list = (item: Shape, most = MAX_ENTRIES, least = 1): Shape => ({ kind: "array", item, most, least });
const name: Shape = { kind: "text", what: "a name", most: 64, pattern: "^[^\\u0000-\\u001f]+$" };
const network: Shape = {
  kind: "text",
  what: "a network such as 10.0.0.0/8 or 2001:db8::/32",
  most: 49,
  accepts: (value) => parsePrefix(value) !== undefined,
};
const address: Shape = {
  kind: "text",
  what: "an address",
  most: 45,
  accepts: (value) => parseRange(value)?.count === 1 && !value.includes("-"),
};
const range: Shape = {
  kind: "text",
  what: "an address or a range of addresses such as 203.0.113.4-203.0.113.7 (at most 65536)",
  most: 91,
  accepts: (value) => parseRange(value) !== undefined,
};
const portRange: Shape = {
  kind: "text",
  what: "a range of ports such as 20000-29999",
  most: 11,
  pattern: "^\\d{1,5}-\\d{1,5}$",
  accepts: (value) => parsePorts(value) !== undefined,
};
const protocols = list({
  kind: "either",
  shapes: [
    { kind: "choice", values: ["tcp", "udp", "icmp", "icmpv6"] },
    { kind: "integer", least: 0, most: 255 },
  ],
});

export const TRANSLATION: Shape = {
  kind: "object",
  members: {
    own: list(address, MAX_OWN, 0),
    source: list(
      {
        kind: "object",
        members: {
          name,
          source: list(network),
          destination: list(network),
          protocols,
          via: { kind: "choice", values: ["server", "direct"] },
          to: list(range),
          ports: portRange,
          randomPorts: { kind: "boolean" },
        },
      },
      MAX_TRANSLATIONS,
      0,
    ),
    destination: list(
      {
        kind: "object",
        required: ["to"],
        members: {
          name,
          source: list(network),
          destination: list(network),
          protocols,
          ports: list({ kind: "either", shapes: [{ kind: "integer", least: 0, most: MAX_PORT }, portRange] }),
          to: list(range),
          port: { kind: "integer", least: 1, most: MAX_PORT },
        },
      },
      MAX_TRANSLATIONS,
      0,
    ),
    hairpin: list(network, MAX_ENTRIES, 0),
  },
};

/** What a shape cannot say. Throws `DATAPLANE_INVALID_CONFIG`. */
export function checkTranslation({ own = [], source = [] }: TranslationConfig): void {
  const families = own.map((text) => parseRange(text)?.family);
  if (new Set(families).size !== families.length) {
    throw invalidConfig("/translation/own", "two addresses of one family; one of each is possible");
  }
  source.forEach(({ to }, index) => {
    if (to === undefined && own.length === 0) {
      throw invalidConfig(`/translation/source/${index}/to`, "masquerading needs an address in /translation/own");
    }
  });
}
