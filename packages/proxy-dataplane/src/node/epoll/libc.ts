import { createRequire } from "node:module";
import type * as Koffi from "koffi";

/*
 * Numbers of Linux on x86-64 and arm64, which agree on them: asm-generic/socket.h, asm-generic/fcntl.h, linux/eventpoll.h, linux/net.h.
 */
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_NONBLOCK = 0x800;
export const SOCK_CLOEXEC = 0x8_0000;
export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_ERROR = 4;
export const SO_LINGER = 13;
export const SO_REUSEPORT = 15;
export const IPPROTO_IP = 0;
export const IP_BIND_ADDRESS_NO_PORT = 24;
export const IPPROTO_TCP = 6;
export const TCP_NODELAY = 1;
export const TCP_QUICKACK = 12;
export const IPPROTO_IPV6 = 41;
export const IPV6_V6ONLY = 26;
export const SHUT_WR = 1;
export const MSG_DONTWAIT = 0x40;
export const MSG_MORE = 0x8000;
export const MSG_NOSIGNAL = 0x4000;
export const EPOLLIN = 1;
export const EPOLLPRI = 2;
export const EPOLLOUT = 4;
export const EPOLLERR = 8;
export const EPOLLHUP = 0x10;
export const EPOLLRDHUP = 0x2000;
export const EPOLLEXCLUSIVE = 0x1000_0000;
/** The top bit, as words have it. */
export const EPOLLET = -0x8000_0000;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const F_DUPFD_CLOEXEC = 1030;
export const F_SETPIPE_SZ = 1031;
export const SPLICE_F_MOVE = 1;
export const SPLICE_F_NONBLOCK = 2;

/** Error numbers that the engine looks at, from asm-generic/errno.h. */
export const Errno = {
  EINTR: 4,
  EAGAIN: 11,
  ECONNABORTED: 103,
  ENOBUFS: 105,
  EINPROGRESS: 115,
} as const;

type Call0 = () => number;
type Call1 = (a: number) => number;
type Call2 = (a: number, b: number) => number;
type Call3 = (a: number, b: number, c: number) => number;
type Call4 = (a: number, b: number, c: number, d: number) => number;
type Call5 = (a: number, b: number, c: number, d: number, e: number) => number;
type Call6 = (a: number, b: number, c: number, d: number, e: number, f: number) => number;

/**
 * What the engine calls of libc, as in section 2 of the manual; addresses are numbers. Every call returns before anything else runs, so what an
 * address points to must be reachable from the caller and no longer (see `Arena`). -1 is an error, which `errno` tells until the next call.
 */
export interface Libc {
  readonly errno: Call0;
  readonly socket: Call3;
  readonly bind: Call3;
  readonly listen: Call2;
  readonly accept4: Call4;
  readonly connect: Call3;
  readonly getsockname: Call3;
  readonly getsockopt: Call5;
  readonly setsockopt: Call5;
  readonly shutdown: Call2;
  readonly close: Call1;
  readonly recv: Call4;
  readonly send: Call4;
  readonly recvmmsg: Call5;
  readonly sendmmsg: Call4;
  readonly pipe2: Call2;
  readonly splice: Call6;
  readonly fcntl: Call3;
  readonly epollCreate: Call1;
  readonly epollControl: Call4;
  readonly epollWait: Call4;
  /** Where the bytes of a buffer lie; they do not move. */
  readonly addressOf: (buffer: ArrayBuffer) => number;
  /** The descriptor that is readable when the event loop of this thread has something to do. */
  readonly loopDescriptor: Call0;
}

let loaded: Libc | string | undefined;

/** libc, by way of koffi; or why there is none. */
export function loadLibc(): Libc | string {
  loaded ??= load();
  return loaded;
}

function load(): Libc | string {
  if (process.platform !== "linux") return `there is no epoll on ${process.platform}`;
  if (process.arch !== "x64" && process.arch !== "arm64") return `layouts of ${process.arch} are not known`;
  let koffi: typeof Koffi;
  try {
    koffi = createRequire(import.meta.url)("koffi") as typeof Koffi;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === "MODULE_NOT_FOUND" ? "koffi is not installed" : `koffi does not load: ${(error as Error).message}`;
  }
  try {
    return bindings(koffi);
  } catch (error) {
    return `libc does not load: ${(error as Error).message}`;
  }
}

function bindings(koffi: typeof Koffi): Libc {
  const library = koffi.load(null);
  // Which arguments it takes is in the declaration.
  const call = (declaration: string): never => library.func(declaration) as unknown as never;
  // Counts fit into 31 bits here, and an int is cheaper to convert than a ssize_t.
  return {
    errno: () => koffi.errno(),
    socket: call("int socket(int, int, int)"),
    bind: call("int bind(int, intptr_t, int)"),
    listen: call("int listen(int, int)"),
    accept4: call("int accept4(int, intptr_t, intptr_t, int)"),
    connect: call("int connect(int, intptr_t, int)"),
    getsockname: call("int getsockname(int, intptr_t, intptr_t)"),
    getsockopt: call("int getsockopt(int, int, int, intptr_t, intptr_t)"),
    setsockopt: call("int setsockopt(int, int, int, intptr_t, int)"),
    shutdown: call("int shutdown(int, int)"),
    close: call("int close(int)"),
    recv: call("int recv(int, intptr_t, size_t, int)"),
    send: call("int send(int, intptr_t, size_t, int)"),
    recvmmsg: call("int recvmmsg(int, intptr_t, uint, int, intptr_t)"),
    sendmmsg: call("int sendmmsg(int, intptr_t, uint, int)"),
    pipe2: call("int pipe2(intptr_t, int)"),
    splice: call("int splice(int, intptr_t, int, intptr_t, size_t, uint)"),
    fcntl: call("int fcntl(int, int, int)"),
    epollCreate: call("int epoll_create1(int)"),
    epollControl: call("int epoll_ctl(int, int, int, intptr_t)"),
    epollWait: call("int epoll_wait(int, intptr_t, int, int)"),
    addressOf: (buffer) => Number(koffi.address(buffer)),
    loopDescriptor: () => loopDescriptor(koffi),
  };
}

/** By two documented functions: of Node-API, which names the loop, and of libuv, which names its descriptor. */
function loopDescriptor(koffi: typeof Koffi): number {
  const library = koffi.load(null);
  const loopOf = library.func("int napi_get_uv_event_loop(void *, intptr_t)") as (env: unknown, to: number) => number;
  const backendOf = library.func("int uv_backend_fd(intptr_t)") as unknown as Call1;
  const word = new BigInt64Array(1);
  const status = loopOf(koffi.node.env, Number(koffi.address(word.buffer)));
  return status === 0 ? backendOf(Number(word[0])) : -1;
}
