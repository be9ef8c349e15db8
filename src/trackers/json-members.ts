/** A value of a JSON text and where it is; `end` is behind its last character. */
export interface JsonPart {
  start: number;
  end: number;
  /** Of a member of an object, and where that key begins. */
  key?: string;
  keyStart?: number;
  /** Members and items, down to the depth that was asked for. */
  parts: JsonPart[];
}

/** A replacement in a text. */
interface Edit {
  start: number;
  end: number;
  text: string;
}

/** Where the values of a JSON text are, `depth` levels below the root. The text has to be one that JSON.parse takes. */
export function jsonParts(text: string, depth: number): JsonPart {
  const root: JsonPart = { start: 0, end: 0, parts: [] };
  const open: JsonPart[] = [root];
  let key: { key: string; keyStart: number } | undefined;
  for (let at = skipBlank(text, 0); at < text.length; at = skipBlank(text, at)) {
    const character = text.charAt(at);
    if (character === "}" || character === "]") {
      (open.pop() as JsonPart).end = at + 1;
      at += 1;
      continue;
    }
    if (character === "," || character === ":") {
      at += 1;
      continue;
    }
    const end = character === '"' ? endOfString(text, at) : endOfWord(text, at);
    if (character === '"' && text.charAt(skipBlank(text, end)) === ":") {
      key = { key: JSON.parse(text.slice(at, end)) as string, keyStart: at };
      at = end;
      continue;
    }
    const part: JsonPart = { start: at, end, ...key, parts: [] };
    key = undefined;
    if (open.length <= depth + 1) (open.at(-1) as JsonPart).parts.push(part);
    if (character === "{" || character === "[") open.push(part);
    at = character === "{" || character === "[" ? at + 1 : end;
  }
  return root.parts[0] ?? root;
}

function skipBlank(text: string, from: number): number {
  let at = from;
  while (at < text.length && " \t\n\r".includes(text.charAt(at))) at += 1;
  return at;
}

function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); ; quote = text.indexOf('"', quote + 1)) {
    let slashes = 0;
    while (text[quote - 1 - slashes] === "\\") slashes += 1;
    if (slashes % 2 === 0) return quote + 1;
  }
}

function endOfWord(text: string, start: number): number {
  let end = start + 1;
  while (end < text.length && !' \t\n\r,:{}[]"'.includes(text.charAt(end))) end += 1;
  return end;
}

/** The member of this name; of several the last one, which is the one that JSON.parse keeps. */
export function member(object: JsonPart | undefined, name: string): JsonPart | undefined {
  return object?.parts.findLast(({ key }) => key === name);
}

/** What gives members of an object these values, or takes those away whose value is undefined; nothing where all is so already. One member has to stay. */
export function setMembers(text: string, object: JsonPart, values: ReadonlyMap<string, unknown>): Edit[] {
  const gone = new Set(object.parts.filter(({ key = "" }) => values.has(key) && values.get(key) === undefined));
  const removals = [...gone].map((part) => removal(object, part, gone));
  const others = [...values].filter(([, value]) => value !== undefined);
  return [...removals, ...others.flatMap(([name, value]) => setMember(text, object, name, JSON.stringify(value)))];
}

function setMember(text: string, object: JsonPart, name: string, json: string): Edit[] {
  const there = member(object, name);
  if (there === undefined) return [insertion(text, object, `${JSON.stringify(name)}: ${json}`)];
  if (JSON.stringify(JSON.parse(text.slice(there.start, there.end))) === json) return [];
  return [{ start: there.start, end: there.end, text: json }];
}

function insertion(text: string, object: JsonPart, memberText: string): Edit {
  const last = object.parts.at(-1);
  if (last === undefined) return { start: object.start + 1, end: object.start + 1, text: memberText };
  // A new member stands as its neighbours do: each on a line of its own, or all on one.
  const gap = text.slice(object.parts.at(-2)?.end ?? object.start + 1, last.keyStart);
  return { start: last.end, end: last.end, text: `,${gap.slice(gap.indexOf(",") + 1)}${memberText}` };
}

function removal(object: JsonPart, part: JsonPart, gone: ReadonlySet<JsonPart>): Edit {
  const index = object.parts.indexOf(part);
  const begin = part.keyStart ?? part.start;
  const stays = object.parts.slice(0, index).some((other) => !gone.has(other));
  if (stays) return { start: object.parts[index - 1]?.end ?? begin, end: part.end, text: "" };
  return { start: begin, end: object.parts[index + 1]?.keyStart ?? part.end, text: "" };
}

/** A text with edits made that do not overlap; two at one place come in their order. */
export function edited(text: string, edits: readonly Edit[]): string {
  const pieces: string[] = [];
  let at = 0;
  for (const edit of edits.toSorted((a, b) => a.start - b.start)) {
    pieces.push(text.slice(at, edit.start), edit.text);
    at = edit.end;
  }
  return pieces.join("") + text.slice(at);
}
