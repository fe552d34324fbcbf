/** Freeze a value and all it holds. Typed arrays cannot be frozen; they are private copies anyway. */
export function deepFreeze<T>(value: T): T {
  freezeAll(value, new Set());
  return value;
}

function freezeAll(value: unknown, done: Set<unknown>): void {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || done.has(value)) return;
  done.add(value);
  Object.freeze(value);
  for (const member of Object.values(value)) freezeAll(member, done);
}
