/**
 * Prints the problems of a check, one line each, and sets the exit status.
 *
 * @param {string} check     what was checked, for the closing line
 * @param {string[]} problems
 */
export function finish(check, problems) {
  for (const problem of problems) console.error(problem);
  if (problems.length === 0) console.log(`${check}: no problem`);
  else console.error(`${check}: ${problems.length} problem${problems.length === 1 ? "" : "s"}`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
