/*
 * What this package uses of Node.js that is not documented, all in one place: the handles behind sockets and servers. `node:cluster` and many
 * packages stand on the same members, which have been there since Node 0.12.
 */

/** The handle behind a socket or server, or undefined where there is none. */
export function handleOf(owner: object): unknown {
  return (owner as Readonly<Record<string, unknown>>)["_handle"] ?? undefined;
}

/** A member of a module by a name that its types do not have. */
export function undocumented(module: object, name: string): unknown {
  return (module as Readonly<Record<string, unknown>>)[name];
}
