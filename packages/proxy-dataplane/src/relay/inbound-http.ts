import { httpStatusOf, type RelayFailure } from "./failure.ts";
import { basicCredentials, forwardHead, HttpHead, httpHeadLength, parseAuthority, parseHttpHead } from "./http-head.ts";
import type { Inbound } from "./inbound.ts";
import { MALFORMED, NEED_MORE, RelayCommand } from "./request.ts";
import type { Session } from "./session.ts";

const encoder = new TextEncoder();
const ESTABLISHED = encoder.encode("HTTP/1.1 200 Connection established\r\n\r\n");

/** Steps: what was asked for. */
const Step = { Head: 0, Connect: 1, Forward: 2 } as const;

/** CONNECT, and requests in absolute form (RFC 9112, 3.2.2 and 3.2.3). */
export const httpInbound: Inbound = {
  name: "http",

  advance(session) {
    if (session.step !== Step.Head) return;
    const { input } = session;
    const length = httpHeadLength(input.bytes, input.from, input.to);
    if (length === NEED_MORE) return;
    const head = length === MALFORMED ? undefined : parseHttpHead(input.bytes, input.from, length);
    if (head === undefined) return session.fail("malformed-request");
    input.consume(length);
    if (!mayPass(session, head)) return session.fail("authentication");
    if (head.method === "CONNECT") connect(session, head);
    else forward(session, head);
  },

  succeed(session) {
    if (session.step === Step.Connect) session.client.write(ESTABLISHED, 0, ESTABLISHED.length);
  },

  fail(session, failure) {
    const text = httpStatusOf(failure);
    const body = `${failure}\n`;
    const challenge = failure === "authentication" ? 'Proxy-Authenticate: Basic realm="proxy"\r\n' : "";
    const head = `HTTP/1.1 ${text}\r\n${challenge}Content-Type: text/plain\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`;
    const bytes = encoder.encode(head + body);
    session.client.write(bytes, 0, bytes.length);
  },
};

function mayPass(session: Session, head: HttpHead): boolean {
  if (!session.listener.authenticates) return true;
  const credentials = basicCredentials(head.header("proxy-authorization"));
  return credentials !== undefined && session.authenticate(credentials.user, credentials.password);
}

function connect(session: Session, head: HttpHead): void {
  session.request.command = RelayCommand.Connect;
  if (!parseAuthority(head.target, 443, session.request)) return session.fail("malformed-request");
  session.step = Step.Connect;
  session.requested();
}

/** The head is rewritten; what follows it goes on as it comes, and the connection serves this one request. */
function forward(session: Session, head: HttpHead): void {
  const failure = framingFailure(head);
  if (failure !== "") return session.fail(failure);
  const text = forwardHead(head, session.request);
  if (text === undefined) return session.fail(head.target.includes("://") ? "unsupported" : "malformed-request");
  session.step = Step.Forward;
  session.preface = encoder.encode(text);
  session.requested();
}

/** What two servers may read in two ways is not passed on (request smuggling). */
function framingFailure(head: HttpHead): RelayFailure {
  const lengths = head.headers.filter(([name]) => name.toLowerCase() === "content-length");
  const encodings = head.headers.filter(([name]) => name.toLowerCase() === "transfer-encoding");
  if (lengths.length > 1 || encodings.length > 1 || (lengths.length > 0 && encodings.length > 0)) {
    return "malformed-request";
  }
  return lengths.length > 0 && !/^\d+$/.test(lengths[0][1]) ? "malformed-request" : "";
}
