import { parseAddress } from "../addresses.ts";
import type { ProxyServer } from "../policy/config.ts";
import type { Endpoint, RelaySocket } from "./engine.ts";
import type { RelayFailure } from "./failure.ts";
import { basicHeader, httpResponseLength, httpStatus } from "./http-head.ts";
import { scratch } from "./inbound.ts";
import type { InputBuffer } from "./input-buffer.ts";
import { MALFORMED, NEED_MORE, ParsedRequest, RelayCommand } from "./request.ts";
import { parseSocks4Reply, SOCKS4_GRANTED, writeSocks4Request } from "./socks4.ts";
import {
  parseSocks5Address,
  SOCKS5_NO_AUTHENTICATION,
  SOCKS5_PASSWORD,
  SOCKS5_VERSION,
  writeSocks5Password,
  writeSocks5Request,
} from "./socks5.ts";

/** How far a handshake is: more bytes are needed, the way is open, or why it is not. */
export type HandshakeState = "more" | "open" | RelayFailure;

/** Asks an upstream proxy for a connection to `host` and `port`, as its client. */
export interface UpstreamHandshake {
  /** The connection to the proxy is open. */
  start(socket: RelaySocket): void;
  /** More has come; what belongs to the handshake is consumed. */
  advance(socket: RelaySocket, input: InputBuffer): HandshakeState;
}

/** The handshake with a server. */
export function handshakeWith(server: ProxyServer, host: string, port: number): UpstreamHandshake {
  switch (server.type) {
    case "socks4":
      return new Socks4Handshake(server, host, port);
    case "socks5":
      return new Socks5Handshake(server, host, port);
    default:
      return new ConnectHandshake(server, host, port);
  }
}

const words = new Int32Array(4);

class Socks4Handshake implements UpstreamHandshake {
  readonly #server: ProxyServer;
  readonly #host: string;
  readonly #port: number;

  constructor(server: ProxyServer, host: string, port: number) {
    this.#server = server;
    this.#host = host;
    this.#port = port;
  }

  start(socket: RelaySocket): void {
    // An IPv6 address goes as a name: some servers understand it, and SOCKS4 has nothing better.
    const ipv4 = parseAddress(this.#host, words, 0) === 4 ? words[0] : undefined;
    const target = { host: this.#host, port: this.#port, ipv4 };
    socket.write(scratch, 0, writeSocks4Request(scratch, target, this.#server.username ?? ""));
  }

  advance(_socket: RelaySocket, input: InputBuffer): HandshakeState {
    const length = parseSocks4Reply(input.bytes, input.from, input.to);
    if (length === NEED_MORE) return "more";
    if (length === MALFORMED) return "upstream-handshake";
    const code = input.bytes[input.from + 1];
    input.consume(length);
    return code === SOCKS4_GRANTED ? "open" : code === 91 ? "refused" : "upstream-authentication";
  }
}

const NOWHERE: Endpoint = { family: 0, host: "", port: 0 };

/** What SOCKS5 is waited for. */
const Wait = { Method: 0, Password: 1, Reply: 2 } as const;

/** SOCKS5 as the client of a server: for a connection, or for what another command asks. */
export class Socks5Handshake implements UpstreamHandshake {
  /** What the server says of its own end, once the way is open; family 0: a name. */
  bound: Endpoint = NOWHERE;
  readonly #server: ProxyServer;
  readonly #host: string;
  readonly #port: number;
  readonly #command: RelayCommand;
  #wait: number = Wait.Method;

  constructor(server: ProxyServer, host: string, port: number, command: RelayCommand = RelayCommand.Connect) {
    this.#server = server;
    this.#host = host;
    this.#port = port;
    this.#command = command;
  }

  start(socket: RelaySocket): void {
    const hasPassword = this.#server.username !== undefined;
    const greeting = hasPassword
      ? [SOCKS5_VERSION, 2, SOCKS5_NO_AUTHENTICATION, SOCKS5_PASSWORD]
      : [SOCKS5_VERSION, 1, SOCKS5_NO_AUTHENTICATION];
    socket.write(Uint8Array.from(greeting), 0, greeting.length);
  }

  advance(socket: RelaySocket, input: InputBuffer): HandshakeState {
    for (;;) {
      const state = this.#step(socket, input);
      if (state !== "next") return state;
    }
  }

  #step(socket: RelaySocket, input: InputBuffer): HandshakeState | "next" {
    if (this.#wait === Wait.Reply) return this.#readReply(input);
    if (input.length < 2) return "more";
    const first = input.bytes[input.from];
    const second = input.bytes[input.from + 1];
    input.consume(2);
    if (this.#wait === Wait.Password) {
      if (second !== 0) return "upstream-authentication";
      this.#request(socket);
      return "next";
    }
    if (first !== SOCKS5_VERSION) return "upstream-handshake";
    if (second === SOCKS5_NO_AUTHENTICATION) this.#request(socket);
    else if (second === SOCKS5_PASSWORD && this.#server.username !== undefined) {
      const length = writeSocks5Password(scratch, this.#server.username, this.#server.password ?? "");
      socket.write(scratch, 0, length);
      this.#wait = Wait.Password;
    } else return "upstream-authentication";
    return "next";
  }

  #request(socket: RelaySocket): void {
    socket.write(scratch, 0, writeSocks5Request(scratch, this.#command, this.#host, this.#port));
    this.#wait = Wait.Reply;
  }

  #readReply(input: InputBuffer): HandshakeState {
    const { bytes, from, to } = input;
    if (to - from < 4) return "more";
    if (bytes[from] !== SOCKS5_VERSION) return "upstream-handshake";
    const code = bytes[from + 1];
    // Where it failed some servers send no address; the failure is what counts.
    if (code !== 0) return failureOfReply(code);
    const length = parseSocks5Address(bytes, from + 3, to, bound);
    if (length === NEED_MORE) return "more";
    if (length === MALFORMED) return "upstream-handshake";
    input.consume(3 + length);
    this.bound = { family: bound.family, host: bound.host, port: bound.port };
    return "open";
  }
}

const bound = new ParsedRequest();

function failureOfReply(code: number): RelayFailure {
  switch (code) {
    case 2:
      return "denied";
    case 3:
      return "unreachable";
    case 4:
      return "host-unreachable";
    case 5:
      return "refused";
    case 6:
      return "connect-timeout";
    case 7:
    case 8:
      return "unsupported";
    default:
      return "upstream-handshake";
  }
}

class ConnectHandshake implements UpstreamHandshake {
  readonly #server: ProxyServer;
  readonly #authority: string;

  constructor(server: ProxyServer, host: string, port: number) {
    this.#server = server;
    this.#authority = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  }

  start(socket: RelaySocket): void {
    const { username, password = "" } = this.#server;
    const credentials = username === undefined ? "" : `Proxy-Authorization: ${basicHeader(username, password)}\r\n`;
    const head = `CONNECT ${this.#authority} HTTP/1.1\r\nHost: ${this.#authority}\r\n${credentials}\r\n`;
    const bytes = new TextEncoder().encode(head);
    socket.write(bytes, 0, bytes.length);
  }

  advance(_socket: RelaySocket, input: InputBuffer): HandshakeState {
    const length = httpResponseLength(input.bytes, input.from, input.to);
    if (length === NEED_MORE) return "more";
    if (length === MALFORMED) return "upstream-handshake";
    const status = httpStatus(input.bytes, input.from, length);
    input.consume(length);
    if (status >= 200 && status < 300) return "open";
    return failureOfStatus(status);
  }
}

function failureOfStatus(status: number): RelayFailure {
  switch (status) {
    case 403:
      return "denied";
    case 407:
      return "upstream-authentication";
    case 502:
    case 503:
      return "refused";
    case 504:
      return "connect-timeout";
    default:
      return "upstream-handshake";
  }
}
