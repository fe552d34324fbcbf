/** Where the frames of the locks themselves come from; what calls them is the site. */
const OWN_URL: string = new URL(".", import.meta.url).href;
const OWN_PATH: string = new URL(".", import.meta.url).pathname;
/** Files whose functions are called by users, rather than by observers in between. */
const CALLED = /(-locks|mutexes|conditions)\.[jt]s:/;
const FRAMES = 24;

/** Keeps the stack of the moment; engines format it only when {@link siteOf} asks for it. */
export function captureSite(): Error {
  const limited = Error as { stackTraceLimit?: number | undefined };
  const before = limited.stackTraceLimit;
  limited.stackTraceLimit = FRAMES;
  const site = new Error("site");
  limited.stackTraceLimit = before;
  return site;
}

/** «function (file:line:column)» of what called the lock, as the engine writes frames. */
export function siteOf(captured: Error): string {
  const frames = (captured.stack ?? "").split("\n").filter((line) => /:\d+:\d+\)?$/.test(line));
  const isOwn = (frame: string): boolean => frame.includes(OWN_URL) || frame.includes(OWN_PATH);
  const caller = frames.find(
    (frame, at) => !isOwn(frame) && at > 0 && isOwn(frames[at - 1]) && CALLED.test(frames[at - 1]),
  );
  const site = caller ?? frames.find((frame) => !isOwn(frame)) ?? frames.at(-1) ?? "unknown";
  return site.trim().replace(/^at /, "");
}
