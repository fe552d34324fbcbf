import { checkShape, invalidConfig } from "../policy/shape.ts";
import { DataplaneError } from "../errors.ts";
import { serverName, validateProxyConfig } from "../policy/validate.ts";
import { RELAY_SHAPE } from "./config-shape.ts";
import type { ListenerConfig, RelayConfig } from "./config.ts";
import { listenEndpoint, targetOf } from "./endpoints-text.ts";

/**
 * Throws `DATAPLANE_INVALID_CONFIG`, with a JSON pointer to the member, unless `value` is a valid configuration of a proxy.
 *
 * @public
 */
export function validateRelayConfig(value: RelayConfig): void {
  checkShape(RELAY_SHAPE, value, "");
  checkListeners(value);
  checkServers(value);
}

function checkListeners({ listeners, users }: RelayConfig): void {
  const names = new Set<string>();
  for (const [index, listener] of listeners.entries()) {
    const path = `/listeners/${index}`;
    checkKind(listener, path);
    if (listener.authenticate === true && users === undefined) {
      throw invalidConfig(`${path}/authenticate`, "there are no users");
    }
    const name = listenerName(listener);
    if (names.has(name)) throw invalidConfig(path, `two listeners are named ${name}`);
    names.add(name);
  }
}

/** What a kind of listener needs and cannot have. */
function checkKind({ kind, listen, target, ...rest }: ListenerConfig, path: string): void {
  const needsTarget = kind === "forward" || kind === "udp";
  const parsedTarget = typeof target === "string" ? targetOf(target) : undefined;
  if (needsTarget && parsedTarget === undefined)
    throw invalidConfig(`${path}/target`, "target is host:port or unix:/path");
  if (!needsTarget && target !== undefined) throw invalidConfig(`${path}/target`, "only forward and udp have a target");
  const isPath = listenEndpoint(listen)?.family === 0;
  if (kind === "udp" && parsedTarget?.isPath === true) throw invalidConfig(`${path}/target`, "UDP has no Unix sockets");
  const isTransparent = kind === "redirect" || kind === "tproxy";
  if ((kind === "udp" || isTransparent) && isPath) throw invalidConfig(`${path}/listen`, `${kind} is of addresses`);
  if (kind === "udp" && rest.peek === true) throw invalidConfig(`${path}/peek`, "datagrams are not looked at");
  for (const name of ["authenticate", "acceptProxyProtocol", "sendProxyProtocol"] as const) {
    const isOfDatagrams = kind === "udp" && name === "sendProxyProtocol";
    const isHandshake = (kind === "udp" || isTransparent) && name !== "sendProxyProtocol";
    if ((isOfDatagrams || isHandshake) && rest[name] !== undefined && rest[name] !== false) {
      throw invalidConfig(`${path}/${name}`, `${kind} has no handshake`);
    }
  }
}

/** The name of a listener. */
export function listenerName(listener: ListenerConfig): string {
  return listener.name ?? `${listener.kind} ${listener.listen}`;
}

function checkServers({ policy, chains = {} }: RelayConfig): void {
  if (policy !== undefined) below("/policy", () => validateProxyConfig(policy));
  const servers = policy?.servers ?? [];
  const names = servers.map(serverName);
  const https = servers.findIndex(({ type }) => type === "https");
  if (https >= 0) throw invalidConfig(`/policy/servers/${https}/type`, "a proxy does not speak to https servers");
  for (const [name, before] of Object.entries(chains)) {
    if (!names.includes(name)) throw invalidConfig(`/chains/${name}`, "there is no such server");
    if (before.some((each) => !names.includes(each) || each === name)) {
      throw invalidConfig(`/chains/${name}`, "is no list of names of other servers");
    }
  }
}

/** An error of a part names the member as the whole does. */
function below(path: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof DataplaneError)) throw error;
    throw new DataplaneError(error.code, error.message, { path: path + (error.location.path ?? "") }, { cause: error });
  }
}
