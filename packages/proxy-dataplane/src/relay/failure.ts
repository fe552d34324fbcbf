/**
 * Why a request was not served, or how a connection ended. The names are stable: they are in access logs and metrics.
 *
 * @public
 */
export type RelayFailure =
  | "" // served, and ended in peace
  | "malformed-request"
  | "unsupported"
  | "authentication"
  | "denied"
  | "forbidden-target"
  | "limit"
  | "loop" // the connection was meant for the proxy itself
  | "no-destination" // where the packet filter took the connection from is not known
  | "name-not-found"
  | "name-lookup"
  | "refused"
  | "unreachable"
  | "host-unreachable"
  | "connect-timeout"
  | "upstream-handshake"
  | "upstream-authentication"
  | "upstream-timeout"
  | "no-server"
  | "handshake-timeout"
  | "idle-timeout"
  | "half-closed-timeout"
  | "client-reset"
  | "client-gone"
  | "server-reset"
  | "server-gone"
  | "killed"
  | "drained"
  | "internal";

/** Of a failed connection attempt, by the system's error. */
export function failureOfErrno(errno: string): RelayFailure {
  switch (errno) {
    case "ECONNREFUSED":
      return "refused";
    case "ENETUNREACH":
    case "EADDRNOTAVAIL":
    case "EAFNOSUPPORT":
      return "unreachable";
    case "EHOSTUNREACH":
    case "EHOSTDOWN":
      return "host-unreachable";
    case "ETIMEDOUT":
      return "connect-timeout";
    case "EACCES":
    case "EPERM":
      return "denied";
    case "ENOENT":
      return "refused";
    default:
      return "server-reset";
  }
}

/** The reply field of SOCKS5 (RFC 1928, 6). */
export function socks5ReplyOf(failure: RelayFailure): number {
  switch (failure) {
    case "":
      return 0;
    case "denied":
    case "forbidden-target":
    case "limit":
      return 2;
    case "unreachable":
      return 3;
    case "host-unreachable":
    case "name-not-found":
    case "name-lookup":
      return 4;
    case "refused":
    case "server-reset":
    case "server-gone":
      return 5;
    case "connect-timeout":
    case "upstream-timeout":
      return 6;
    case "unsupported":
      return 7;
    default:
      return 1;
  }
}

/** The status line of an HTTP proxy. */
export function httpStatusOf(failure: RelayFailure): string {
  switch (failure) {
    case "":
      return "200 OK";
    case "malformed-request":
      return "400 Bad Request";
    case "authentication":
      return "407 Proxy Authentication Required";
    case "denied":
    case "forbidden-target":
      return "403 Forbidden";
    case "limit":
      return "429 Too Many Requests";
    case "handshake-timeout":
      return "408 Request Timeout";
    case "connect-timeout":
    case "upstream-timeout":
    case "idle-timeout":
      return "504 Gateway Timeout";
    case "unsupported":
      return "501 Not Implemented";
    case "internal":
      return "500 Internal Server Error";
    default:
      return "502 Bad Gateway";
  }
}

/** Whether another server may do better. */
export function isWorthRetry(failure: RelayFailure): boolean {
  switch (failure) {
    case "refused":
    case "unreachable":
    case "host-unreachable":
    case "connect-timeout":
    case "upstream-timeout":
    case "upstream-handshake":
    case "upstream-authentication":
    case "server-reset":
    case "server-gone":
    case "name-not-found":
    case "name-lookup":
      return true;
    default:
      return false;
  }
}
