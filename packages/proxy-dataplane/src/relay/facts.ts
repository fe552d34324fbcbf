import { Peek } from "./peek.ts";
import { Phase } from "./phase.ts";
import type { Session } from "./session.ts";

/** Finds out what rules ask for and a request does not say: the original destination, then the process, then the name. */
export class Facts {
  /** The client was told that the way is open before it was. */
  isAnswered = false;
  readonly #session: Session;
  #peek: Peek | undefined = undefined;

  constructor(session: Session) {
    this.#session = session;
  }

  /** Where a connection that the packet filter brought was meant to go; then the rest. */
  findOriginal(): void {
    const session = this.#session;
    const { core, client, listener, request } = session;
    session.phase = Phase.Facts;
    core.originalDestination(listener, client, (original) => {
      if (session.phase !== Phase.Facts) return;
      if (original === undefined) return session.fail("no-destination");
      const { host, port, family } = original;
      session.original = original;
      Object.assign(request, { host, port, family });
      // A connection that was not redirected is one to the proxy itself.
      const isOwn = listener.config.kind === "redirect" && host === client.local.host && port === client.local.port;
      if (isOwn || core.isOwnListener(host, port)) return session.fail("loop");
      if (core.isOwnConnection(listener, client.remote, original)) return session.fail("loop");
      this.learn();
    });
  }

  learn(): void {
    const session = this.#session;
    session.phase = Phase.Facts;
    if (!session.runtime.asksProcess) return this.#lookAhead();
    session.core.processOf(session.client.remote, session.original ?? session.client.local, (found) => {
      if (session.phase !== Phase.Facts) return;
      session.process = found;
      this.#lookAhead();
    });
  }

  /** More has come from the client. */
  onInput(): void {
    if (this.#peek?.look(this.#session.input) === true) this.#decide();
  }

  /** Nothing more comes. */
  onInputEnd(): void {
    if (this.#peek !== undefined) this.#decide();
  }

  /** The client waits for its server, or the host for itself. */
  onDeadline(): void {
    if (this.#peek !== undefined) this.#decide();
    else this.#session.fail("internal");
  }

  #lookAhead(): void {
    const session = this.#session;
    const { listener, request, inbound, input } = session;
    // A name that the client has said itself stands; that of a forwarding listener's target is its owner's.
    const isNamed = request.family === 0 && (inbound !== undefined || listener.target?.isPath === true);
    if (!listener.peeks || isNamed || session.preface !== undefined) return session.connectAsRuled();
    // A client that speaks SOCKS or CONNECT says nothing more before it has its answer.
    if (inbound !== undefined) {
      inbound.succeed(session);
      this.isAnswered = true;
    }
    this.#peek = new Peek();
    if (input.length > 0 && this.#peek.look(input)) return this.#decide();
    session.setDeadline(session.runtime.timeouts.peekMs);
    session.client.resume();
  }

  #decide(): void {
    const session = this.#session;
    session.client.pause();
    session.hostName = this.#peek?.name ?? "";
    this.#peek = undefined;
    session.connectAsRuled();
  }
}
