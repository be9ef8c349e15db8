import { headings, joined, type ListItem, listItems, type MarkdownLine, markdownLines, plainText } from "./markdown.ts";

const names = /^(?:acceptance(?: criteria| tests?)?|criteria|definition of done|done when|dod|ac)$/i;
/** Nobody nests checkboxes deeper. */
const maxDepth = 8;

/**
 * What a body says has to hold: the items of lists (or else the paragraphs) below a heading such as "Acceptance criteria" or
 * "Definition of done"; without such a heading every checkbox. Checked ones count, too: they have to go on to hold.
 */
export function criteriaOf(body: string): string[] {
  const { lines } = markdownLines(body.replace(/\r\n?/g, "\n"));
  const stated = statedSections(lines).flatMap((section) => {
    const { items, rest } = listItems(section);
    return items.length > 0 ? items.map(asCriterion) : paragraphs(rest);
  });
  const found = stated.length > 0 ? stated : checkboxes(lines);
  return [...new Set(found.filter((criterion) => criterion !== ""))];
}

/** Every checkbox in some lines, with what is nested below it. */
export function checkboxes(lines: readonly MarkdownLine[], depth = 1): string[] {
  return listItems(lines).items.flatMap((item) => {
    if (item.box !== undefined) return item.box === "dropped" ? [] : [asCriterion(item)];
    return depth < maxDepth ? checkboxes(item.body, depth + 1) : [];
  });
}

function asCriterion(item: ListItem): string {
  return [item.text, joined(item.body)].filter((part) => part !== "").join("\n");
}

/** The lines below each heading, and each line that stands for one, that announces criteria. */
function statedSections(lines: readonly MarkdownLine[]): MarkdownLine[][] {
  const all = headings(lines);
  const real = all.filter(({ title }) => isName(title)).map(({ from, to }) => lines.slice(from, to));
  if (real.length > 0) return real;
  return lines.flatMap((line, index) => {
    if (line.verbatim || !isTitleLine(line.text)) return [];
    const next = all.find(({ from }) => from > index + 1);
    const later = lines.findIndex((other, at) => at > index && !other.verbatim && isBold(other.text));
    const end = Math.min(next?.from === undefined ? lines.length : next.from - 1, later < 0 ? lines.length : later);
    return [upToProse(lines.slice(index + 1, end))];
  });
}

/** A list, or the first paragraph where there is none: a line that only looks like a heading says nothing about where its text ends. */
function upToProse(lines: MarkdownLine[]): MarkdownLine[] {
  const { items, rest } = listItems(lines);
  const first = items[0];
  if (first === undefined) return firstParagraph(lines);
  const prose = rest.find((line) => line.number > first.line && line.text.trim() !== "");
  return prose === undefined ? lines : lines.filter((line) => line.number < prose.number);
}

function firstParagraph(lines: MarkdownLine[]): MarkdownLine[] {
  const from = lines.findIndex((line) => line.text.trim() !== "");
  if (from < 0) return [];
  const end = lines.findIndex((line, index) => index > from && line.text.trim() === "");
  return lines.slice(from, end < 0 ? lines.length : end);
}

function isName(title: string): boolean {
  return (
    title.length < 80 &&
    names.test(
      plainText(title)
        .replace(/[:：]$/, "")
        .replace(/^\W+/, "")
        .trim(),
    )
  );
}

/** `**Acceptance criteria**` or `Acceptance criteria:` on a line of its own. */
function isTitleLine(text: string): boolean {
  const line = text.trim();
  return (isBold(line) || line.endsWith(":")) && isName(line);
}

function isBold(text: string): boolean {
  const line = text.trim();
  return line.length < 80 && /^(\*\*|__)[^*_]+:?(\*\*|__):?$/.test(line);
}

function paragraphs(lines: readonly MarkdownLine[]): string[] {
  const text = joined(lines);
  return text === "" ? [] : text.split(/\n[ \t]*\n\s*/).map((paragraph) => paragraph.trim());
}
