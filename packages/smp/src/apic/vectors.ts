/*
 * Sets of interrupt vectors as the eight consecutive registers of 32 bits each in which an APIC keeps them. `base` is the
 * index of the first.
 */
export function addVector(registers: Uint32Array, base: number, vector: number): void {
  registers[base + (vector >>> 5)] |= 1 << (vector & 31);
}

export function deleteVector(registers: Uint32Array, base: number, vector: number): void {
  registers[base + (vector >>> 5)] &= ~(1 << (vector & 31));
}

export function hasVector(registers: Uint32Array, base: number, vector: number): boolean {
  return (registers[base + (vector >>> 5)] & (1 << (vector & 31))) !== 0;
}

/** The highest vector of the set, or -1. */
export function highestVector(registers: Uint32Array, base: number): number {
  for (let word = 7; word >= 0; word--) {
    if (registers[base + word] !== 0) return word * 32 + 31 - Math.clz32(registers[base + word]);
  }
  return -1;
}
