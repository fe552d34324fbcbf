/*
 * Rust's legacy mangling (rustc's `symbol-mangling-version=legacy`) ends a path in a hash and writes characters that linkers do not
 * take as `$…$`. Where perf knows how, it prints `<A as B>::c`; some names it leaves as `_$LT$A$u20$as$u20$B$GT$::c::h0123456789abcdef`.
 */
const HASH = /::h[0-9a-f]{16}$/;
const ESCAPE = /\$(SP|BP|RF|LT|GT|LP|RP|C|u[0-9a-f]{1,6})\$/g;
const CHARACTERS: Readonly<Record<string, string>> = {
  SP: "@",
  BP: "*",
  RF: "&",
  LT: "<",
  GT: ">",
  LP: "(",
  RP: ")",
  C: ",",
};
const LARGEST_CODE_POINT = 0x10ffff;

/** A name in Rust's legacy mangling that perf did not take back. */
export function isMangledRust(name: string): boolean {
  return HASH.test(name);
}

/** A name only Rust has, and only when mangling was taken back: `<Type as Trait>::method`. */
export function isReadableRust(name: string): boolean {
  return name.startsWith("<") && name.includes(" as ") && name.includes(">::");
}

/** The name as it is written in Rust, without its hash. */
export function readableRust(name: string): string {
  const path = name.replace(HASH, "");
  const trimmed = path.startsWith("_$") ? path.slice(1) : path;
  return trimmed.replaceAll("..", "::").replaceAll(ESCAPE, decodeEscape);
}

function decodeEscape(escape: string, code: string): string {
  const known = CHARACTERS[code];
  if (known !== undefined) return known;
  const point = Number.parseInt(code.slice(1), 16);
  return point <= LARGEST_CODE_POINT ? String.fromCodePoint(point) : escape;
}
