import { IpProtocol, PROTOCOL_DCCP, PROTOCOL_UDP_LITE } from "../protocols.ts";
import type { AddressPool } from "./address-pool.ts";

/** Ports that a client's port may be exchanged for, by its class, as Linux's nf_nat_core.c has them. */
const LOW_CLASS_END = 512;
const PRIVILEGED_END = 1024;
const PRIVILEGED_FIRST = 600;
const LAST_PORT = 65_535;

/**
 * Where a new flow goes and how it is translated: what the policy says, and the connection is made of. One is filled again for
 * each flow; private to its thread.
 *
 * The near end is the flow's source as the far end sees it.
 */
export class FlowTarget {
  /** Index of the server, -1 for none, and where its open connections are counted. */
  server = -1;
  serverSlot = 0;
  /** What {@link ClientLimits} gave for the connection; 0 without limits. */
  ticket = 0;
  /** The far end, which answers. */
  readonly far: Int32Array = new Int32Array(4);
  farPort = 0;
  /** Where the near address is chosen from; without one it is `near`. */
  pool: AddressPool | undefined;
  readonly near: Int32Array = new Int32Array(4);
  nearPort = 0;
  /** Whether the near port is tried first; then ports from `firstPort` to `lastPort` are, if the port may change. */
  keepsPort = true;
  firstPort = 0;
  lastPort: number = LAST_PORT;
  /** Whether anything is translated. If not, a flow whose answers would be another's cannot be tracked. */
  isTranslated = false;
  /** Whether ports may change: of protocols whose ports are not covered by more than an Internet checksum. */
  hasPorts = false;

  /** The flow of the key at `key[at ..]`, as it came. */
  begin(key: Int32Array, at: number): void {
    const protocol = key[at + 9] & 0xff;
    for (let i = 0; i < 4; i++) {
      this.near[i] = key[at + i];
      this.far[i] = key[at + 4 + i];
    }
    this.server = -1;
    this.serverSlot = 0;
    this.ticket = 0;
    this.nearPort = key[at + 8] >>> 16;
    this.farPort = key[at + 8] & 0xffff;
    this.pool = undefined;
    this.keepsPort = true;
    this.isTranslated = false;
    this.hasPorts = hasPorts(protocol);
    this.#choosePorts(isEcho(protocol));
  }

  #choosePorts(isIdentifier: boolean): void {
    const { nearPort } = this;
    this.firstPort = isIdentifier
      ? 0
      : nearPort < LOW_CLASS_END
        ? 1
        : nearPort < PRIVILEGED_END
          ? PRIVILEGED_FIRST
          : PRIVILEGED_END;
    this.lastPort =
      isIdentifier || nearPort >= PRIVILEGED_END
        ? LAST_PORT
        : nearPort < LOW_CLASS_END
          ? LOW_CLASS_END - 1
          : PRIVILEGED_END - 1;
  }
}

export function isEcho(protocol: number): boolean {
  return protocol === IpProtocol.Icmp || protocol === IpProtocol.Icmpv6;
}

function hasPorts(protocol: number): boolean {
  return (
    protocol === IpProtocol.Tcp ||
    protocol === IpProtocol.Udp ||
    protocol === PROTOCOL_UDP_LITE ||
    protocol === PROTOCOL_DCCP ||
    isEcho(protocol)
  );
}
