/** Where in a JSON text a member begins (at its key) or an item of a list. */
interface JsonPlace {
  path: (string | number)[];
  offset: number;
}

/** Every member and item of a JSON text that parses, in the order of the text, a member of the same name as often as it is there. */
function* jsonPlaces(text: string): Generator<JsonPlace> {
  const token = /[ \t\n\r]*(?:([{}[\],:])|"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null)/suy;
  const path: (string | number)[] = [];
  let wantsKey = false;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const word = match[0].trimStart();
    const offset = token.lastIndex - word.length;
    const inList = typeof path.at(-1) === "number";
    if (wantsKey && word.startsWith('"')) {
      path[path.length - 1] = JSON.parse(word) as string;
      yield { path: [...path], offset };
      wantsKey = false;
    } else if (word === "}" || word === "]") {
      path.pop();
      wantsKey = false;
    } else if (word === ",") {
      if (inList) path[path.length - 1] = (path.at(-1) as number) + 1;
      else wantsKey = true;
    } else if (word !== ":") {
      if (inList) yield { path: [...path], offset };
      if (word === "{") path.push("");
      if (word === "[") path.push(0);
      wantsKey = word === "{";
    }
  }
}

/** Line and column, from 1, of the deepest thing on the way to `path` that is there; of the text's beginning when none is. */
export function placeOf(text: string, path: readonly PropertyKey[]): { line: number; column: number } {
  let depth = 0;
  let at = 0;
  for (const place of jsonPlaces(text)) {
    if (place.path.length <= depth || !place.path.every((step, i) => step === path[i])) continue;
    depth = place.path.length;
    at = place.offset;
  }
  return lineAndColumn(text, at);
}

/** Line and column, from 1, of an offset. */
export function lineAndColumn(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset);
  return { line: before.split("\n").length, column: offset - before.lastIndexOf("\n") };
}

/** The members that an object of this JSON text has twice: JSON.parse keeps the last of them alone. */
export function doubleMembers(text: string): { field: string; line: number; column: number }[] {
  const seen = new Set<string>();
  const doubles: { field: string; line: number; column: number }[] = [];
  for (const { path, offset } of jsonPlaces(text)) {
    const key = JSON.stringify(path);
    if (seen.has(key)) doubles.push({ field: path.join("."), ...lineAndColumn(text, offset) });
    seen.add(key);
  }
  return doubles;
}
