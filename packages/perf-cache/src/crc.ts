/*
 * Cyclic redundancy checks, reflected (least significant bit first), a table of 256 words each: Koopman's catalogue and
 * RFC 3720 section 12.1 give the polynomials.
 */
function reflectedTable(polynomial: number): Int32Array {
  return Int32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ polynomial;
    return crc;
  });
}

const CASTAGNOLI = reflectedTable(0x82f63b78);
const ETHERNET = reflectedTable(0xedb88320);

function crc(table: Int32Array, bytes: Uint8Array, init: number): number {
  let value = init;
  for (const byte of bytes) value = (value >>> 8) ^ table[(value ^ byte) & 0xff];
  return value;
}

/**
 * CRC-32C (Castagnoli), as `rte_hash_crc` of DPDK and the instruction of x86 and ARM compute it: `init` is the first value
 * of the register, and the result is not inverted. Not a defence against chosen keys: it is linear.
 *
 * @returns a signed 32-bit integer; `>>> 0` makes it unsigned.
 *
 * @public
 */
export function crc32c(bytes: Uint8Array, init = 0): number {
  return crc(CASTAGNOLI, bytes, init) | 0;
}

/**
 * CRC-32 of Ethernet, gzip and PNG, register inverted before and after.
 *
 * @returns a signed 32-bit integer; `>>> 0` makes it unsigned.
 *
 * @public
 */
export function crc32(bytes: Uint8Array): number {
  return ~crc(ETHERNET, bytes, -1);
}

const X25 = reflectedTable(0x8408);

/**
 * CRC-16/X-25 (ITU-T X.25, HDLC's frame check sequence). 0 to 65535.
 *
 * @public
 */
export function crc16X25(bytes: Uint8Array): number {
  return ~crc(X25, bytes, 0xffff) & 0xffff;
}
