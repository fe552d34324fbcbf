import { MAX_NAME_BYTES } from "./limits.ts";

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i;

/**
 * Whether `text` is a host name as configurations have it: labels of letters, digits, `-` and `_` (RFC 1123, RFC 2782), the last
 * not of digits alone, so that no mistyped address passes for a name. International names in their ASCII form.
 */
export function isHostName(text: string): boolean {
  const labels = text.split(".");
  if (text.length > MAX_NAME_BYTES || /^\d+$/.test(labels[labels.length - 1])) return false;
  return labels.every((label) => LABEL.test(label));
}

/**
 * Writes a name in the form it is compared in: lower case, without a final dot. Characters beyond ASCII become 0xff, which no
 * pattern contains.
 *
 * @returns its length, or 0 when it is empty or too long to be a name
 */
export function writeHostName(text: string, into: Uint8Array): number {
  const length = text.endsWith(".") ? text.length - 1 : text.length;
  if (length > MAX_NAME_BYTES) return 0;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    into[i] = code > 0x7e ? 0xff : lowerCase(code);
  }
  return length;
}

/** A to Z become a to z. */
function lowerCase(code: number): number {
  return code >= 0x41 && code <= 0x5a ? code | 0x20 : code;
}
