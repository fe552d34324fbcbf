/** Marsaglia's xorshift32, one state for each CPU; the same numbers for the same seed and calls. */
export function seededRandom(seed: number, cpus: number, currentCpu: () => number): () => number {
  // Spread by an odd constant; a state must not be 0, which xorshift never leaves.
  const states = Int32Array.from({ length: cpus }, (_, cpu) => Math.imul(seed + cpu * 0x9e3779b9, 0x85ebca6b) || 1);
  return () => {
    const cpu = currentCpu();
    let state = states[cpu];
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    states[cpu] = state;
    return (state >>> 0) / 0x1_0000_0000;
  };
}
