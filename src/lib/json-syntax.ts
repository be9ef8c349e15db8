/** Where in a text JSON.parse stopped with this error. */
export function jsonErrorAt(text: string, error: SyntaxError): number {
  const stated = /at position (\d+)/.exec(error.message)?.[1];
  return stated === undefined ? firstUnfitToken(text) : Number(stated);
}

/** Some errors come without a position. Every token that JSON.parse accepts is skipped. */
function firstUnfitToken(text: string): number {
  const token = /[ \t\n\r]*(?:([{}[\],:])|"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*|true|false|null)/suy;
  const open: string[] = [];
  let previous = "";
  for (let at = 0; ; at = token.lastIndex) {
    token.lastIndex = at;
    const match = token.exec(text);
    const start = at + (/^[ \t\n\r]*/.exec(text.slice(at))?.[0].length ?? 0);
    if (match === null) return start;
    const mark = match[1] ?? "value";
    if (!mayFollow(previous, mark, open.at(-1))) return start;
    if (mark === "{" || mark === "[") open.push(mark);
    if (mark === "}" || mark === "]") open.pop();
    previous = mark === "}" || mark === "]" ? "value" : mark;
  }
}

function mayFollow(previous: string, mark: string, inside: string | undefined): boolean {
  const starts = mark === "value" || mark === "{" || mark === "[";
  if (previous === "value") {
    return mark === "," || mark === ":" || (mark === "}" && inside === "{") || (mark === "]" && inside === "[");
  }
  return starts || (mark === "}" && previous === "{") || (mark === "]" && previous === "[");
}
