/*
 * x86-TSO by its axioms (Alglave, Maranget, Tautschnig, "Herding cats", TOPLAS 36, 2014): an oracle for the store-buffer machine
 * that shares nothing with it. An execution gives each load a store to read from and each location an order of its stores; it is
 * allowed when neither the accesses of one location nor the order that all threads agree on has a cycle.
 */
export type Access =
  | { readonly kind: "R"; readonly at: number; readonly register: string }
  | { readonly kind: "W"; readonly at: number; readonly value: number }
  | { readonly kind: "F" };

interface Event {
  readonly thread: number;
  readonly index: number;
  readonly access: Access;
}

type Model = "sc" | "tso";

/** Every final state: registers, then locations, as `kernel-sim litmus` prints them. */
export function axiomaticStates(
  threads: readonly (readonly Access[])[],
  locations: readonly string[],
  model: Model,
): string[] {
  const initial: Event[] = locations.map((_, at) => ({ thread: -1, index: at, access: { kind: "W", at, value: 0 } }));
  const events = [
    ...initial,
    ...threads.flatMap((thread, number) => thread.map((access, index): Event => ({ thread: number, index, access }))),
  ];
  const loads = events.filter(({ access }) => access.kind === "R");
  const states = new Set<string>();
  for (const from of choices(loads.map((load) => events.filter((event) => isStoreTo(event, load.access))))) {
    for (const orders of choices(
      locations.map((_, at) =>
        permutations(events.filter((event) => event.thread >= 0 && isStoreTo(event, { kind: "R", at, register: "" }))),
      ),
    )) {
      const coherence = orders.map((order, at) => [initial[at], ...order]);
      if (!isAllowed(events, loads, from, coherence, model)) continue;
      const registers = loads.map(
        (load, number) => `${load.thread}:${(load.access as { register: string }).register}=${value(from[number])};`,
      );
      const memory = coherence.map((order, at) => `[${locations[at]}]=${value(order.at(-1))};`);
      states.add([...registers, ...memory].sort().join(" "));
    }
  }
  return [...states].sort();
}

const isStoreTo = (event: Event, access: Access): boolean =>
  event.access.kind === "W" && access.kind !== "F" && event.access.at === access.at;
const value = (event: Event | undefined): number => (event?.access.kind === "W" ? event.access.value : NaN);

function isAllowed(
  events: readonly Event[],
  loads: readonly Event[],
  from: readonly Event[],
  coherence: readonly (readonly Event[])[],
  model: Model,
): boolean {
  const position = (store: Event): number => coherence[(store.access as { at: number }).at].indexOf(store);
  const source = new Map(loads.map((load, index) => [load, from[index]]));
  /** From-read, reads-from and coherence: `a` before `b` in them. */
  const communicates = (a: Event, b: Event): "rf" | "fr" | "co" | undefined => {
    if (a === b || a.access.kind === "F" || b.access.kind === "F" || a.access.at !== b.access.at) return undefined;
    if (a.access.kind === "W") {
      if (b.access.kind === "R") return source.get(b) === a ? "rf" : undefined;
      return position(a) < position(b) ? "co" : undefined;
    }
    const read = source.get(a);
    return b.access.kind === "W" && read !== undefined && position(read) < position(b) ? "fr" : undefined;
  };
  const isBefore = (a: Event, b: Event): boolean => a.thread === b.thread && a.thread >= 0 && a.index < b.index;
  const sameLocation = (a: Event, b: Event): boolean =>
    a.access.kind !== "F" && b.access.kind !== "F" && a.access.at === b.access.at;
  const perLocation = (a: Event, b: Event): boolean =>
    (isBefore(a, b) && sameLocation(a, b)) || communicates(a, b) !== undefined;
  if (hasCycle(events, perLocation)) return false;
  return !hasCycle(events, (a, b) => {
    if (isBefore(a, b)) return model === "sc" || !(a.access.kind === "W" && b.access.kind === "R");
    const way = communicates(a, b);
    return way === "rf" ? model === "sc" || a.thread !== b.thread : way !== undefined;
  });
}

function hasCycle(events: readonly Event[], edge: (a: Event, b: Event) => boolean): boolean {
  const left = new Set(events);
  for (;;) {
    const free = [...left].find((event) => ![...left].some((other) => other !== event && edge(other, event)));
    if (free === undefined) return left.size > 0;
    left.delete(free);
  }
}

/** One of each list, in every way. */
function choices<T>(lists: readonly (readonly T[])[]): T[][] {
  return lists.reduce<T[][]>((made, list) => made.flatMap((some) => list.map((one) => [...some, one])), [[]]);
}

function permutations<T>(list: readonly T[]): T[][] {
  if (list.length === 0) return [[]];
  return list.flatMap((first, at) =>
    permutations(list.filter((_, other) => other !== at)).map((rest) => [first, ...rest]),
  );
}
