// Just enough of a lexer for TypeScript: where comments, strings and regular expressions begin and end.

/**
 * @typedef {{ kind: "code" | "comment" | "text" | "template" | "regex", start: number, end: number }} Span
 */

/**
 * Cuts a source into spans of code, comments, string literals (`"…"`, `'…'`), the fixed parts of templates, and regular
 * expressions.
 *
 * @param {string} source
 * @returns {Span[]}
 */
export function spansOf(source) {
  /** @type {Span[]} */
  const spans = [];
  /** Depth of braces at which each open template expression ends. @type {number[]} */
  const templates = [];
  let depth = 0;
  let codeStart = 0;
  let at = 0;
  const close = (/** @type {Span["kind"]} */ kind, /** @type {number} */ end) => {
    if (codeStart < at) spans.push({ kind: "code", start: codeStart, end: at });
    spans.push({ kind, start: at, end });
    at = codeStart = end;
  };
  while (at < source.length) {
    const two = source.slice(at, at + 2);
    const one = source[at];
    if (two === "//") close("comment", endOr(source, source.indexOf("\n", at)));
    else if (two === "/*") close("comment", endOr(source, source.indexOf("*/", at + 2), 2));
    else if (one === '"' || one === "'") close("text", endOfQuoted(source, at));
    else if (one === "`" || (one === "}" && templates.at(-1) === depth)) {
      if (one === "}") templates.pop();
      const end = endOfTemplatePart(source, at);
      if (source[end - 1] === "{") templates.push(depth);
      close("template", end);
    } else if (one === "/" && regexCanStart(source, at)) close("regex", endOfRegex(source, at));
    else {
      if (one === "{") depth++;
      else if (one === "}") depth--;
      at++;
    }
  }
  if (codeStart < at) spans.push({ kind: "code", start: codeStart, end: at });
  return spans;
}

/**
 * The source with everything but the given kinds blanked out; lines and columns stay where they are.
 *
 * @param {string} source
 * @param {Span["kind"][]} kinds
 */
export function only(source, kinds) {
  return spansOf(source)
    .map(({ kind, start, end }) => {
      const text = source.slice(start, end);
      return kinds.includes(kind) ? text : text.replace(/[^\n]/g, " ");
    })
    .join("");
}

/**
 * The modules a source imports, with the line of each.
 *
 * @param {string} source
 * @returns {{ specifier: string, line: number, typeOnly: boolean }[]}
 */
export function importsOf(source) {
  const code = only(source, ["code", "text"]);
  const found = [];
  const statement = /^[ \t]*(import|export)\b(?!\s*\()([^;'"`]*?\bfrom)?\s*(["'])([^"'\n]+)\3/gm;
  for (const match of code.matchAll(statement)) {
    if (match[1] === "export" && match[2] === undefined) continue;
    found.push({ specifier: match[4], line: lineOf(code, match.index), typeOnly: /^\s*type\b/.test(match[2] ?? "") });
  }
  for (const match of code.matchAll(/\bimport\s*\(\s*(["'])([^"'\n]+)\1/g)) {
    found.push({ specifier: match[2], line: lineOf(code, match.index), typeOnly: false });
  }
  return found.sort((a, b) => a.line - b.line);
}

/** The line, counted from 1, of an offset. @param {string} source @param {number} offset */
export function lineOf(source, offset) {
  let line = 1;
  for (let i = source.indexOf("\n"); i !== -1 && i < offset; i = source.indexOf("\n", i + 1)) line++;
  return line;
}

/** @param {string} source @param {number} found @param {number} [length] */
function endOr(source, found, length = 0) {
  return found === -1 ? source.length : found + length;
}

/** @param {string} source @param {number} start */
function endOfQuoted(source, start) {
  for (let i = start + 1; i < source.length; i++) {
    if (source[i] === "\\") i++;
    else if (source[i] === source[start] || source[i] === "\n") return i + 1;
  }
  return source.length;
}

/** To the closing backquote, or to the brace of the next `${`. @param {string} source @param {number} start */
function endOfTemplatePart(source, start) {
  for (let i = start + 1; i < source.length; i++) {
    if (source[i] === "\\") i++;
    else if (source[i] === "`") return i + 1;
    else if (source.startsWith("${", i)) return i + 2;
  }
  return source.length;
}

/** A slash begins a regular expression where a value may begin. @param {string} source @param {number} at */
function regexCanStart(source, at) {
  const before = source.slice(Math.max(0, at - 40), at).trimEnd();
  return (
    before === "" || /[(,=:[!&|?{};+\-*%<>~^]$/.test(before) || /\b(return|typeof|case|of|in|yield|await)$/.test(before)
  );
}

/** @param {string} source @param {number} start */
function endOfRegex(source, start) {
  let inClass = false;
  for (let i = start + 1; i < source.length; i++) {
    if (source[i] === "\\") i++;
    else if (source[i] === "\n") return i;
    else if (source[i] === "[") inClass = true;
    else if (source[i] === "]") inClass = false;
    else if (source[i] === "/" && !inClass) return i + 1;
  }
  return source.length;
}
