import type { RelayFailure } from "./failure.ts";
import type { Session } from "./session.ts";

/** How clients of a kind ask, and are answered. It keeps its state in the session (`session.step`), so one serves all. */
export interface Inbound {
  readonly name: string;
  /** More bytes are in `session.input`: consume what is complete. */
  advance(session: Session): void;
  /** The way to the target is open: say so. */
  succeed(session: Session): void;
  /** The request is not served: say why. Nothing is sent after it. */
  fail(session: Session, failure: RelayFailure): void;
}

/** Messages are made here and copied by `write` where they cannot be sent at once. */
export const scratch: Uint8Array = new Uint8Array(1024);
