import { lookup } from "node:dns";
import type { NameLookup } from "../relay/resolver.ts";

/** Names as the host resolves them (`getaddrinfo`: hosts file, search domains, name servers). */
export const lookupByNode: NameLookup = (host, callback) => {
  lookup(host, { all: true, verbatim: true }, (error, addresses) => {
    if (error !== null) {
      callback([], error.code === "ENOTFOUND" ? "name-not-found" : "name-lookup");
      return;
    }
    callback(
      addresses.map(({ address, family }) => ({ host: address, family: family === 6 ? 6 : 4 })),
      "",
    );
  });
};
