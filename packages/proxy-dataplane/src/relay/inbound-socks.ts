import { parseAddress } from "../addresses.ts";
import type { Endpoint } from "./engine.ts";
import { socks5ReplyOf, type RelayFailure } from "./failure.ts";
import { scratch, type Inbound } from "./inbound.ts";
import { MALFORMED, NEED_MORE, RelayCommand } from "./request.ts";
import type { Session } from "./session.ts";
import { parseSocks4Request, SOCKS4_GRANTED, SOCKS4_REJECTED, writeSocks4Reply } from "./socks4.ts";
import {
  parseSocks5Greeting,
  parseSocks5Password,
  parseSocks5Request,
  SOCKS5_NO_AUTHENTICATION,
  SOCKS5_NO_METHOD,
  SOCKS5_PASSWORD,
  SOCKS5_VERSION,
  socks5Offers,
  writeSocks5Reply,
} from "./socks5.ts";

/** SOCKS4 and 4a. */
export const socks4Inbound: Inbound = {
  name: "socks4",

  advance(session) {
    const { input, request } = session;
    const length = parseSocks4Request(input.bytes, input.from, input.to, request);
    if (length === NEED_MORE) return;
    if (length === MALFORMED) return session.fail("malformed-request");
    input.consume(length);
    // A user id is a claim without proof.
    if (session.listener.authenticates) return session.fail("authentication");
    request.user = "";
    session.requested();
  },

  succeed(session) {
    reply4(session, SOCKS4_GRANTED, session.boundEndpoint());
  },

  fail(session) {
    reply4(session, SOCKS4_REJECTED, undefined);
  },
};

const words = new Int32Array(4);

function reply4(session: Session, code: number, bound: Endpoint | undefined): void {
  const isIpv4 = bound !== undefined && parseAddress(bound.host, words, 0) === 4;
  const length = writeSocks4Reply(scratch, code, isIpv4 ? words[0] : 0, bound?.port ?? 0);
  session.client.write(scratch, 0, length);
}

/** Steps of SOCKS5. */
const Step = { Greeting: 0, Password: 1, Request: 2 } as const;

/** SOCKS5 (RFC 1928) with user and password (RFC 1929). */
export const socks5Inbound: Inbound = {
  name: "socks5",

  advance(session) {
    if (session.step === Step.Greeting && !greet(session)) return;
    if (session.step === Step.Password && !authenticate(session)) return;
    readRequest(session);
  },

  succeed(session) {
    const bound = session.boundEndpoint();
    const isPath = bound === undefined || bound.family === 0;
    const length = writeSocks5Reply(scratch, 0, isPath ? "0.0.0.0" : bound.host, isPath ? 0 : bound.port);
    session.client.write(scratch, 0, length);
  },

  fail(session, failure) {
    // Before the request there is no reply that could say it.
    if (session.step !== Step.Request) return;
    session.client.write(scratch, 0, writeSocks5Reply(scratch, socks5ReplyOf(failure), "0.0.0.0", 0));
  },
};

/** Choose a method. True: the greeting is through. */
function greet(session: Session): boolean {
  const { input } = session;
  const length = parseSocks5Greeting(input.bytes, input.from, input.to);
  if (length === NEED_MORE) return false;
  if (length === MALFORMED) return failed(session, "malformed-request");
  const wanted = session.listener.authenticates ? SOCKS5_PASSWORD : SOCKS5_NO_AUTHENTICATION;
  // A client that insists on a password where none is asked for gets its way, and any password is right.
  const method = socks5Offers(input.bytes, input.from, wanted) ? wanted : SOCKS5_PASSWORD;
  const isOffered = socks5Offers(input.bytes, input.from, method);
  input.consume(length);
  session.client.write(Uint8Array.of(SOCKS5_VERSION, isOffered ? method : SOCKS5_NO_METHOD), 0, 2);
  if (!isOffered) return failed(session, session.listener.authenticates ? "authentication" : "unsupported");
  session.step = method === SOCKS5_PASSWORD ? Step.Password : Step.Request;
  return true;
}

function authenticate(session: Session): boolean {
  const { input, request } = session;
  const length = parseSocks5Password(input.bytes, input.from, input.to, request);
  if (length === NEED_MORE || input.length === 0) return false;
  if (length === MALFORMED) return failed(session, "malformed-request");
  input.consume(length);
  const holds = session.authenticate(request.user, request.password);
  session.client.write(Uint8Array.of(1, holds ? 0 : 1), 0, 2);
  if (!holds) return failed(session, "authentication");
  session.step = Step.Request;
  return true;
}

function readRequest(session: Session): void {
  const { input, request } = session;
  if (input.length === 0) return;
  const length = parseSocks5Request(input.bytes, input.from, input.to, request);
  if (length === NEED_MORE) return;
  if (length === MALFORMED) return session.fail("malformed-request");
  input.consume(length);
  if (request.command < RelayCommand.Connect || request.command > RelayCommand.UdpAssociate) {
    return session.fail("unsupported");
  }
  session.requested();
}

function failed(session: Session, failure: RelayFailure): false {
  session.fail(failure);
  return false;
}
