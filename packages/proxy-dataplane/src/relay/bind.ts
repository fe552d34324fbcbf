import { parseAddress } from "../addresses.ts";
import type { Listener, ListenerOwner, RelaySocket } from "./engine.ts";
import type { CommandHandler } from "./phase.ts";
import type { Session } from "./session.ts";
import { SOCKS4_GRANTED, writeSocks4Reply } from "./socks4.ts";
import { writeSocks5Reply } from "./socks5.ts";
import { scratch } from "./inbound.ts";

/** BIND of SOCKS (RFC 1928, 4): the target connects back to the proxy, once. */
export class Bind implements CommandHandler, ListenerOwner {
  readonly #session: Session;
  #listener: Listener | undefined = undefined;

  constructor(session: Session) {
    this.#session = session;
  }

  start(): void {
    const { core, client, runtime } = this.#session;
    const { family, host } = client.local;
    this.#session.setDeadline(runtime.timeouts.handshakeMs);
    // Where the client reached the proxy the target can too, as far as the proxy knows.
    const endpoint = { family: family === 0 ? 4 : family, host: family === 0 ? "127.0.0.1" : host, port: 0 } as const;
    this.#listener = core.engine.listen({ endpoint, backlog: 1 }, this, (listener) => {
      this.#listener = listener;
      this.#reply(listener.local.host, listener.local.port);
      client.resume();
    });
  }

  onAccept(_listener: Listener, socket: RelaySocket): void {
    const session = this.#session;
    if (!this.#isExpected(socket.remote.host)) return socket.reset();
    this.dispose();
    this.#reply(socket.remote.host, socket.remote.port);
    session.client.pause();
    session.join(socket);
  }

  onListenError(): void {
    this.#session.fail("internal");
  }

  /** What comes before the connection does is sent on when it does. */
  onClientData(bytes: Uint8Array, from: number, to: number): void {
    if (!this.#session.input.append(bytes, from, to, 65_536)) this.#session.fail("malformed-request");
  }

  onDeadline(): void {
    this.#session.fail("connect-timeout");
  }

  dispose(): void {
    this.#listener?.close();
    this.#listener = undefined;
  }

  /** The request names the host that will connect; 0.0.0.0 is any, and a name is not held against it. */
  #isExpected(host: string): boolean {
    const { request } = this.#session;
    return request.family === 0 || request.host === "0.0.0.0" || request.host === "::" || request.host === host;
  }

  #reply(host: string, port: number): void {
    const { client, inbound } = this.#session;
    if (inbound?.name === "socks4") {
      const ipv4 = parseAddress(host, words, 0) === 4 ? words[0] : 0;
      client.write(scratch, 0, writeSocks4Reply(scratch, SOCKS4_GRANTED, ipv4, port));
    } else client.write(scratch, 0, writeSocks5Reply(scratch, 0, host, port));
  }
}

const words = new Int32Array(4);
