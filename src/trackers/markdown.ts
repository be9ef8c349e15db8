/** As much of Markdown as lists of work are written in, with the lines where things are. */

/** A line of a Markdown text; `number` counts from 1 in its file. */
export interface MarkdownLine {
  text: string;
  number: number;
  /** It belongs to a fenced code block or a comment: nothing in it is Markdown. */
  verbatim: boolean;
}

/** A heading; its section reaches to the next one of its level or above. */
export interface Heading {
  level: number;
  title: string;
  line: number;
  /** Where it stands itself, and where its section's lines begin and end, in the text's lines. */
  start: number;
  from: number;
  to: number;
}

/** An item of a list, as far out as lists go in the lines it was found in. */
export interface ListItem {
  line: number;
  /** The first line's text without marker and checkbox. */
  text: string;
  /** What its checkbox holds; undefined without one. */
  box?: "open" | "done" | "dropped";
  /** Of a numbered item. */
  number?: number;
  /** What is nested below the first line, indented as if it stood alone. */
  body: MarkdownLine[];
}

/** A text's lines; `first` is the number of the first one in its file. `unclosed` is the line of a code fence or a comment that nothing closes, so that all the rest belongs to it. */
export function markdownLines(text: string, first = 1): { lines: MarkdownLine[]; unclosed?: number } {
  let closes: ((line: string) => boolean) | undefined;
  let opened = 0;
  const lines = text.split("\n").map((line, index): MarkdownLine => {
    const number = index + first;
    if (closes !== undefined) {
      if (closes(line)) closes = undefined;
      return { text: line, number, verbatim: true };
    }
    closes = opening(line);
    if (closes === undefined) return { text: line, number, verbatim: line.trimStart().startsWith("<!--") };
    opened = number;
    return { text: line, number, verbatim: true };
  });
  return closes === undefined ? { lines } : { lines, unclosed: opened };
}

/** How the block ends that this line begins, where it begins one that goes beyond the line. */
function opening(line: string): ((line: string) => boolean) | undefined {
  const start = line.trimStart();
  if (start.startsWith("<!--")) return start.includes("-->") ? undefined : (later) => later.includes("-->");
  const fence = /^(?:[-*+][ \t]+)?(`{3,}|~{3,})/.exec(start)?.[1];
  if (fence === undefined) return undefined;
  const mark = fence.charAt(0);
  // A line such as ```code``` is no fence.
  if (mark === "`" && start.slice(start.indexOf(fence) + fence.length).includes("`")) return undefined;
  return (later) => {
    const end = later.trim();
    return end.length >= fence.length && end.startsWith(fence) && [...end].every((character) => character === mark);
  };
}

/** The headings of a text, in both spellings, in their order. */
export function headings(lines: readonly MarkdownLine[]): Heading[] {
  const found: Heading[] = [];
  for (const [index, line] of lines.entries()) {
    const heading = hashHeading(line) ?? underlined(lines, index);
    if (heading === undefined) continue;
    const { level, title, height } = heading;
    found.push({ level, title, line: line.number, start: index, from: index + height, to: lines.length });
  }
  const open: Heading[] = [];
  for (const heading of found) {
    for (let last = open.at(-1); last !== undefined && last.level >= heading.level; last = open.at(-1)) {
      last.to = heading.start;
      open.pop();
    }
    open.push(heading);
  }
  return found;
}

function hashHeading(line: MarkdownLine): { level: number; title: string; height: number } | undefined {
  if (line.verbatim) return undefined;
  const match = /^ {0,3}(#{1,6})(?=[ \t]|$)/.exec(line.text);
  if (match === null) return undefined;
  return { level: match[1]?.length ?? 1, title: withoutClosingHashes(line.text.slice(match[0].length).trim()), height: 1 };
}

function withoutClosingHashes(title: string): string {
  let end = title.length;
  while (title[end - 1] === "#") end -= 1;
  return end === 0 || /[ \t]/.test(title[end - 1] ?? "") ? title.slice(0, end).trimEnd() : title;
}

function underlined(lines: readonly MarkdownLine[], index: number): { level: number; title: string; height: number } | undefined {
  const [line, below] = [lines[index], lines[index + 1]];
  if (line === undefined || below === undefined || line.verbatim || below.verbatim) return undefined;
  const level = /^ {0,3}={2,}[ \t]*$/.test(below.text) ? 1 : /^ {0,3}-{3,}[ \t]*$/.test(below.text) ? 2 : undefined;
  const before = lines[index - 1]?.text.trim() ?? "";
  if (level === undefined || before !== "" || /^\s*$|^\s{4}|^\s*[>|]/.test(line.text) || marker(line) !== undefined) return undefined;
  return { level, title: line.text.trim(), height: 2 };
}

/** The outermost lists of some lines, item by item, and the lines that belong to none. */
export function listItems(lines: readonly MarkdownLine[]): { items: ListItem[]; rest: MarkdownLine[] } {
  const items: ListItem[] = [];
  const rest: MarkdownLine[] = [];
  let current: { item: ListItem; indent: number } | undefined;
  let afterBlank = false;
  for (const line of lines) {
    const found = marker(line);
    const indent = indentOf(line.text);
    if (found !== undefined && (current === undefined || indent <= current.indent + 1)) {
      current = { item: { line: line.number, body: [], ...itemText(found) }, indent };
      items.push(current.item);
    } else if (current !== undefined && (line.text.trim() === "" || indent > current.indent + 1 || !(afterBlank || endsList(line)))) {
      current.item.body.push(line);
    } else {
      current = undefined;
      rest.push(line);
    }
    afterBlank = line.text.trim() === "" || (afterBlank && line.verbatim);
  }
  return { items: items.map((item) => ({ ...item, body: dedented(item.body) })), rest };
}

/** Whether a line that stands further left than an item cannot be the item's text that goes on. */
function endsList(line: MarkdownLine): boolean {
  return line.verbatim || hashHeading(line) !== undefined || isRule(line.text) || /^\s*[>|]/.test(line.text);
}

function isRule(text: string): boolean {
  const marks = text.replace(/[ \t]/g, "");
  return marks.length >= 3 && ["-", "*", "_"].some((mark) => marks.startsWith(mark) && [...marks].every((each) => each === mark));
}

function marker(line: MarkdownLine): { number?: number; text: string } | undefined {
  if (line.verbatim && !/^\s*[-*+][ \t]+[`~]/.test(line.text)) return undefined;
  const match = /^[ \t]*(?:[-*+]|(\d{1,9})[.)])(?:[ \t]+|$)/.exec(line.text);
  if (match === null || isRule(line.text)) return undefined;
  return { ...(match[1] === undefined ? {} : { number: Number(match[1]) }), text: line.text.slice(match[0].length).trim() };
}

const boxes: Record<string, ListItem["box"]> = { " ": "open", "/": "open", x: "done", X: "done", "-": "dropped", "~": "dropped" };

function itemText({ number, text }: { number?: number; text: string }): Pick<ListItem, "text" | "box" | "number"> {
  const checkbox = /^\[([ /xX~-])\](?=[ \t]|$)/.exec(text);
  const box = checkbox === null ? undefined : boxes[checkbox[1] ?? ""];
  return {
    text: checkbox === null ? text : text.slice(checkbox[0].length).trim(),
    ...(box === undefined ? {} : { box }),
    ...(number === undefined ? {} : { number }),
  };
}

/** How far a line is indented, in columns; a tab reaches to the next multiple of four. */
function indentOf(text: string): number {
  let column = 0;
  for (const character of text) {
    if (character === " ") column += 1;
    else if (character === "\t") column += 4 - (column % 4);
    else break;
  }
  return column;
}

/** Lines without blank ones around them and without the indentation that all of them share. */
function dedented(lines: MarkdownLine[]): MarkdownLine[] {
  const from = lines.findIndex((line) => line.text.trim() !== "");
  if (from < 0) return [];
  const kept = lines.slice(from, lines.findLastIndex((line) => line.text.trim() !== "") + 1);
  // Text that goes on without indentation says nothing about how deep the rest is.
  const indents = kept.filter((line) => line.text.trim() !== "" && indentOf(line.text) > 0).map((line) => indentOf(line.text));
  const shared = indents.reduce((least, indent) => Math.min(least, indent), Number.POSITIVE_INFINITY);
  return kept.map((line) => ({ ...line, text: withoutIndent(line.text, shared) }));
}

function withoutIndent(text: string, columns: number): string {
  const indent = indentOf(text);
  if (indent === 0) return text;
  return " ".repeat(Math.max(0, indent - columns)) + text.trimStart();
}

/** Lines as one text. */
export function joined(lines: readonly MarkdownLine[]): string {
  return lines
    .map((line) => line.text)
    .join("\n")
    .trim();
}

/** Text of a heading or an item without the marks of emphasis and with links as their words alone. */
export function plainText(text: string): string {
  return text
    .replace(/!?\[([^[\]]{0,500})\]\([^()\s]{0,2000}\)/g, "$1")
    .replace(/\*\*|~~/g, "")
    .trim();
}

/** A name that stays the same as long as the words do: lower case, dashes between words, at most 48 characters. */
export function slug(text: string): string {
  const words = plainText(text)
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .toLowerCase()
    .match(/[a-z0-9]+/g);
  let name = "";
  for (const word of words ?? []) {
    const longer = name === "" ? word.slice(0, 48) : `${name}-${word}`;
    if (longer.length > 48) break;
    name = longer;
  }
  return name;
}
