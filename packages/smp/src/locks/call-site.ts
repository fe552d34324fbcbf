/** Where the frames of the locks themselves come from; what calls them is the site. */
const OWN_URL: string = new URL(".", import.meta.url).href;
const OWN_PATH: string = new URL(".", import.meta.url).pathname;

/** Keeps the stack of the moment; engines format it only when {@link siteOf} asks for it. */
export function captureSite(): Error {
  return new Error("site");
}

/** «function (file:line:column)» of the first frame outside the locks, as the engine writes frames. */
export function siteOf(captured: Error): string {
  const frames = (captured.stack ?? "").split("\n").filter((line) => /:\d+:\d+\)?$/.test(line));
  const outside = frames.find((frame) => !frame.includes(OWN_URL) && !frame.includes(OWN_PATH));
  return (outside ?? frames.at(-1) ?? "unknown").trim().replace(/^at /, "");
}
