import { headings, listItems, type MarkdownLine, markdownLines, plainText } from "./markdown.ts";

/** What a body says about what has to be done first. `line` counts from 1 in the body. */
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
const sectionNames = /^(?:dependencies|depends on|blocked by|blockers)$/i;
const nothing = /^(?:none|nothing|no|n\/a|-|—|–)?\.?$/i;

/** The lines of a body that name blockers: "Depends on #12", "Blocked by: ENG-3 and ENG-4", and the items of a section "Dependencies". */
export function blockerLines(body: string): BlockerLine[] {
  const { lines } = markdownLines(body.replace(/\r\n?/g, "\n"));
  const inSections = headings(lines)
    .filter(({ title }) => sectionNames.test(plainText(title).replace(/:$/, "")))
    .flatMap(({ from, to }) => listItems(lines.slice(from, to)).items.map(({ line, text }) => ({ line, text: bare(text) })));
  const taken = new Set(inSections.map(({ line }) => line));
  const listed = inSections.flatMap(({ line, text }) => blockerLine(line, text.replace(phrase, ""), true));
  const said = lines.filter((line) => !line.verbatim && !taken.has(line.number)).flatMap(spoken);
  return [...listed, ...said].toSorted((a, b) => a.line - b.line);
}

function spoken(line: MarkdownLine): BlockerLine[] {
  const text = bare(line.text);
  const match = phrase.exec(text);
  if (match === null) return [];
  return blockerLine(line.number, text.slice(match[0].length), /^(?:depends|blocked)/i.test(match[1] ?? ""));
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
  /^(?:https?:\/\/[^\s/]+\/([\w.-]+\/[\w.-]+)\/issues\/(\d+)\S*|https?:\/\/linear\.app\/[^\s/]+\/issue\/([A-Za-z][A-Za-z0-9_]*-\d+)\S*|((?:[\w.-]+\/[\w.-]+)?#\d+)|([A-Za-z][A-Za-z0-9_]*-\d+))(?![\w-])/;

/** The references that a text begins with; what follows them is somebody's words. */
function leadingReferences(text: string): string[] {
  const found: string[] = [];
  for (let left = text.trimStart(); ; ) {
    const match = reference.exec(left);
    if (match === null) return found;
    const [whole, repo, number, linear, hash, key] = match;
    found.push(repo === undefined ? (linear ?? hash ?? key ?? "") : `${repo}#${number}`);
    left = left.slice(whole.length).replace(/^[\s,;&/]*(?:and\s+|or\s+|\+\s*)?/i, "");
  }
}
