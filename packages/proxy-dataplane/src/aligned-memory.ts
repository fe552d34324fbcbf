/**
 * Shared memory whose cache lines are those of the host. V8's plain `SharedArrayBuffer` begins 16 bytes behind a line, where the
 * allocator's own header ends, so that a line by its offset is parts of two; one that may grow begins at a page. An engine without
 * those makes a plain one. Views need a length of their own, or the engine asks for the buffer's at every access.
 */
export function alignedMemory(bytes: number): SharedArrayBuffer {
  const Growable = SharedArrayBuffer as new (bytes: number, options: { maxByteLength: number }) => SharedArrayBuffer;
  return new Growable(bytes, { maxByteLength: bytes });
}
