/** The command line of kernel-sim for the arguments of `npm start`: `run` unless they name a command. */
export function kernelSimArguments(given) {
  const first = given[0] ?? "";
  const namesCommand = /^[a-z][a-z-]*$/.test(first);
  return namesCommand ? given : ["run", ...given];
}

/** What the arguments of `npm test` ask for: short or full package names select packages, the rest goes to turbo. */
export function testSelection(given, names) {
  const selected = [];
  const forwarded = [];
  for (const argument of given) {
    if (argument.startsWith("-")) {
      forwarded.push(argument);
      continue;
    }
    const found = names.filter((name) => name === argument || name.split("/")[1] === argument);
    if (found.length === 0) throw new Error(`there is no package «${argument}»`);
    selected.push(...found);
  }
  return { selected: selected.length > 0 ? selected : names, forwarded };
}
