/** The results as text, one block per package, in the order of the results. */
export function formatTable(results) {
  const lines = [];
  for (const name of new Set(results.map((result) => result.package))) {
    lines.push("", name);
    const rows = results.filter((result) => result.package === name).map(toRow);
    lines.push(...align([["benchmark", "unit", "ours", "best peer", "peer", "ratio"], ...rows]));
  }
  return lines.slice(1).join("\n");
}

function toRow({ name, unit, ours, peers, ratio }) {
  const isRate = unit.endsWith("/s");
  const sorted = Object.entries(peers).sort(([, a], [, b]) => (isRate ? b - a : a - b));
  const [first, ...others] = sorted;
  if (first === undefined) return [name, unit, formatFigure(ours), "", "", ""];
  const rest = others.map(([peer, value]) => `${peer} ${formatFigure(value)}`).join(", ");
  return [
    name,
    unit,
    formatFigure(ours),
    formatFigure(first[1]),
    first[0] + (rest && ` (${rest})`),
    `${ratio.toFixed(2)}×`,
  ];
}

/** Three significant digits, without exponents. */
export function formatFigure(value) {
  if (value >= 1000) return Math.round(value).toString();
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** Numbers to the right, texts to the left. */
function align(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const isNumber = (column) => column === 2 || column === 3 || column === 5;
  return rows.map((row) =>
    `  ${row.map((cell, i) => (isNumber(i) ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join("  ")}`.trimEnd(),
  );
}
