import { headings, type ListItem, listItems, type MarkdownLine, markdownLines, plainText } from "./markdown.ts";

/** What a title or a body says about what has to be done first. `line` counts from 1. */
export interface BlockerLine {
  line: number;
  /** As written: `#12`, `owner/repo#12`, `ENG-3`; an address of an issue is one of these already. */
  references: string[];
  /** What the line says instead, where it begins with no reference. */
  words?: string;
  /** It can mean nothing else: "Needs UTF-8" may. */
  sure: boolean;
}

const phrase =
  /^(?:this |it )?(?:(?:issue|ticket|task|story|pr) )?(?:is )?(depends[ _-]?on|blocked[ _-]?(?:by|on)|requires|needs|waits (?:for|on)|after)(?=$|[\s:])[\s:]*/i;
/** The same in the middle of a sentence, where only what can mean nothing else counts. */
const inPassing = /\b(?:depends[ _-]on|blocked[ _-]by)\b[\s:]*/gi;
const denial = /\b(?:not|never|longer|was|were|been|unless|if|whether)(?:\s+(?:this|it|is))*\s+$|n['’]t\s+$/i;
/** Words in round or square brackets. */
const brackets = /[([]([^()[\]]{1,200})[)\]]/g;
const sectionNames = /^(?:dependencies|depends on|blocked by|blockers)$/i;
const nothing = /^(?:none|nothing|no|n\/a|-|—|–)?\.?$/i;
/** Nobody waits for more; without an end, a text of nothing but announcements would take for ever. */
const longestList = 50;

/**
 * What a body names as done first: "Depends on #12" at the start of a line or, with a reference, in it, "(after ENG-3)", and the items
 * of a list below "Depends on:" or in a section "Dependencies". Code, comments and "not blocked by" say nothing.
 */
export function blockerLines(body: string): BlockerLine[] {
  const { lines } = markdownLines(body.replace(/\r\n?/g, "\n"));
  const inSections = headings(lines)
    .filter(({ title }) => isSection(plainText(title)))
    .flatMap(({ from, to }) => {
      const { items, rest } = listItems(lines.slice(from, to));
      return [...items, ...rest.filter(({ verbatim }) => !verbatim).flatMap(referencesAlone)];
    });
  const below = lines.filter((line) => !line.verbatim && isSection(bare(line.text))).flatMap(({ number }) => listBelow(lines, number));
  const listed = new Map([...inSections, ...below].map(({ line, text }) => [line, bare(text).replace(phrase, "")]));
  const said = lines.filter(({ verbatim, number }) => !verbatim && !listed.has(number)).flatMap(spoken);
  return [...[...listed].flatMap(([line, text]) => blockerLine(line, text, true)), ...said].toSorted((a, b) => a.line - b.line);
}

/** What a title names as done first: "Pay by card (after the login)", "Pay by card, blocked by #12". */
export function blockersInTitle(title: string): BlockerLine[] {
  const text = bare(title);
  return [...bracketed(1, text, true), ...passing(1, text.replace(brackets, " "))];
}

/** A title without the words in brackets that name what has to be done first, and those words as they stand there. */
export function splitTitle(title: string): { title: string; before: string } {
  const before: string[] = [];
  const left = title.slice(0, 2000).replace(brackets, (whole) => {
    if (bracketed(1, whole, true).length === 0) return whole;
    before.push(whole);
    return "";
  });
  const plain = `${left}${title.slice(2000)}`
    .replace(/\s+([:,.;])/g, "$1")
    .replace(/\s+/g, " ")
    .trim();
  return plain === "" || before.length === 0 ? { title, before: "" } : { title: plain, before: before.join(" ") };
}

function isSection(text: string): boolean {
  return sectionNames.test(text.replace(/:$/, ""));
}

function referencesAlone({ number, text }: MarkdownLine): Pick<ListItem, "line" | "text">[] {
  return leadingReferences(bare(text)).length > 0 ? [{ line: number, text }] : [];
}

/** The items of the list that begins right below a line; below an item, only what is nested in it. */
function listBelow(lines: readonly MarkdownLine[], line: number): ListItem[] {
  const first = lines.slice(line, line + longestList).find(({ text }) => text.trim() !== "");
  const own = lines[line - 1]?.text;
  if (first === undefined || !isItem(first.text) || (isItem(own) && indent(first.text) <= indent(own))) return [];
  const { items, rest } = listItems(lines.slice(line, line + longestList));
  const outer = items.find((item) => indent(lines[item.line - 1]?.text) < indent(first.text))?.line;
  const prose = rest.find(({ text }) => text.trim() !== "")?.number;
  const end = Math.min(outer ?? Number.POSITIVE_INFINITY, prose ?? Number.POSITIVE_INFINITY);
  return items.filter((item) => item.line < end);
}

function isItem(text = ""): boolean {
  return /^\s*(?:[-*+]|\d+[.)])\s/.test(text);
}

function indent(text = ""): number {
  return text.length - text.trimStart().length;
}

function spoken(line: MarkdownLine): BlockerLine[] {
  const text = bare(line.text);
  const match = phrase.exec(text);
  const rest = text.slice(match?.[0].length ?? 0);
  const stated = match === null ? [] : blockerLine(line.number, rest, /^(?:depends|blocked)/i.test(match[1] ?? ""));
  const prose = rest.replace(unspoken, " ");
  return [...stated, ...bracketed(line.number, prose, false), ...passing(line.number, prose.replace(brackets, " "))];
}

const unspoken = /`[^`]*`|<!--.*?(?:-->|$)/g;

/** What stands in brackets: `words` says whether it may be words as well, such as "(after the login)". */
function bracketed(line: number, text: string, words: boolean): BlockerLine[] {
  return [...text.matchAll(brackets)].flatMap(([, inside = ""]) => {
    const match = phrase.exec(inside);
    const sure = words && !/^(?:requires|needs)/i.test(match?.[1] ?? "");
    return match === null ? [] : blockerLine(line, inside.slice(match[0].length), sure);
  });
}

/** References right behind such words in the middle of a sentence. */
function passing(line: number, text: string): BlockerLine[] {
  return [...text.matchAll(inPassing)].flatMap(({ 0: said, index }) => {
    const references = denial.test(text.slice(0, index)) ? [] : leadingReferences(text.slice(index + said.length));
    return references.length === 0 ? [] : [{ line, references, sure: true }];
  });
}

function blockerLine(line: number, text: string, sure: boolean): BlockerLine[] {
  const references = leadingReferences(text);
  if (references.length > 0) return [{ line, references, sure }];
  const words = text.trim().slice(0, 200);
  return sure && !nothing.test(words) ? [{ line, references, words, sure }] : [];
}

/** A line without list marker, checkbox, emphasis and link addresses. */
function bare(text: string): string {
  const cut = text.slice(0, 2000).trim();
  const unmarked = cut.replace(/^(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?:\[[ /xX~-]\][ \t]+)?/, "");
  const linked = unmarked.replace(/\[[^[\]]{0,500}\]\((https?:\/\/[^\s()]+\/issues?\/[^\s()]+)\)/g, "$1");
  return plainText(linked).replace(/^[_*]+|[_*]+(?=[:\s]|$)/g, "");
}

const reference =
  /^(?:https?:\/\/[^\s/]+\/([\w.-]+\/[\w.-]+)\/issues\/(\d{1,9})(?!\d)[^\s,;)\]]*|https?:\/\/linear\.app\/[^\s/]+\/issue\/([A-Za-z][A-Za-z0-9_]*-\d+)[^\s,;)\]]*|([\w.-]+\/[\w.-]+)?#(\d{1,9})|([A-Za-z][A-Za-z0-9_]*-\d+))(?![\w-])/;

/** The references that a text begins with; what follows them is somebody's words. */
function leadingReferences(text: string): string[] {
  const found: string[] = [];
  for (let left = text.trimStart(); ; ) {
    const match = reference.exec(left);
    if (match === null) return found;
    const [whole, place, number, linear, repo = "", hash, key] = match;
    const id = number ?? hash;
    found.push(id === undefined ? (linear ?? key ?? "") : `${place ?? repo}#${Number(id)}`);
    left = left.slice(whole.length).replace(/^[\s,;&/]*(?:and\s+|or\s+|\+\s*)?/i, "");
  }
}
