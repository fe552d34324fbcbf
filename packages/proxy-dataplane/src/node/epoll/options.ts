import type { EpollLoop } from "./loop.ts";

/** Set an option of a socket that is a number. Returns whether the kernel has taken it. */
export function setOption(
  { libc, option }: EpollLoop,
  fd: number,
  level: number,
  name: number,
  value: number,
): boolean {
  option.words[0] = value;
  return libc.setsockopt(fd, level, name, option.address, 4) === 0;
}
