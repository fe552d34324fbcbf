// Adds up the reports that vitest's json reporter leaves in <package>/.reports/vitest.json.
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

/**
 * @typedef {{ passed: number, failed: number, skipped: number, problems: string[] }} Total
 *
 * Sums the reports of `folders`. A missing or unreadable report, a file that could not be loaded and an error outside any test count
 * as one failure each: nothing that went wrong can end as «0 failed».
 *
 * @param {string[]} folders
 * @returns {Total}
 */
export function summarize(folders) {
  const total = { passed: 0, failed: 0, skipped: 0, problems: [] };
  for (const folder of folders) addReport(total, folder);
  return total;
}

/** The closing line. */
export function closingLine({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

function addReport(total, folder) {
  const file = join(folder, ".reports/vitest.json");
  const name = basename(folder);
  if (!existsSync(file)) return addProblem(total, `${name}: no test report`);
  let report;
  try {
    report = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return addProblem(total, `${name}: the test report is no JSON`);
  }
  total.passed += report.numPassedTests;
  total.failed += report.numFailedTests;
  total.skipped += report.numPendingTests + report.numTodoTests;
  if (report.numTotalTests === 0) addProblem(total, `${name}: no test was run`);
  else if (!report.success && report.numFailedTests === 0) addProblem(total, `${name}: failed outside of its tests`);
  for (const test of report.testResults.flatMap((result) => result.assertionResults)) {
    if (test.status === "failed") total.problems.push(`${name}: ${test.fullName}`);
  }
}

function addProblem(total, problem) {
  total.failed++;
  total.problems.push(problem);
}
