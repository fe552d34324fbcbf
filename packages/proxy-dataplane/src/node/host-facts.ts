import { networkInterfaces } from "node:os";
import type { Engine } from "../relay/engine.ts";
import type { HostFacts } from "../relay/core.ts";
import { originalFromConntrack } from "./conntrack.ts";
import { nativeSockets } from "./native-socket.ts";
import { ProcessFinder } from "./process-finder.ts";

/** How long a list of the host's own addresses is good. */
const ADDRESSES_MS = 5000;

/** What Linux tells of connections. What is looked up in files needs the thread's event loop: the engine is told. */
export function hostFacts(engine: Engine): HostFacts {
  const processes = new ProcessFinder();
  let own = new Set<string>();
  let readMs = -Infinity;
  const isOwnAddress = (host: string): boolean => {
    if (engine.nowMs() - readMs > ADDRESSES_MS) {
      own = new Set(ownAddresses());
      readMs = engine.nowMs();
    }
    return own.has(host) || host.startsWith("127.");
  };
  const held = <T>(promise: Promise<T | undefined>, found: (value: T | undefined) => void): void => {
    engine.hold();
    const answer = (value: T | undefined): void => {
      engine.release();
      found(value);
    };
    promise.then(answer, () => answer(undefined));
  };
  return {
    originalDestination(kind, socket, found) {
      if (kind === "tproxy") return found(socket.local);
      const { remote, local, fd } = socket;
      const native = nativeSockets();
      // The option says nothing of a connection that was not redirected: then it is its own destination.
      if (native !== undefined && fd >= 0 && local.family !== 0)
        return found(native.originalDestination(fd, local.family) ?? local);
      held(originalFromConntrack(remote, local), (original) => found(original));
    },
    processOf(client, destination, found) {
      if (process.platform !== "linux" || client.family === 0 || !isOwnAddress(client.host)) return found(undefined);
      held(processes.find(client, destination), found);
    },
  };
}

/** Addresses of this host's interfaces, in text. */
export function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((each = []) => each.map(({ address }) => address));
}
