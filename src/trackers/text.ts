import { realpath } from "node:fs/promises";
import { basename } from "node:path";
import type { Finding } from "../domain/errors.ts";
import { checkboxes } from "./criteria.ts";
import { joined, listItems, type MarkdownLine, markdownLines } from "./markdown.ts";
import { readSourceText } from "./source-text.ts";
import type { SourceRead, Tracker } from "./tracker.ts";
import { itemsOf, type Work } from "./work-item.ts";

/** A paragraph's first line is its title up to this length; of a longer one it is the first sentence. */
const longestTitle = 120;

/** Plain text: the items of its lists, or else its paragraphs. */
export function plainTextFile(options: { file: string }): Tracker {
  return {
    async read() {
      return readPlain(await readSourceText(options.file), await realpath(options.file));
    },
  };
}

function readPlain(text: string, file: string): SourceRead {
  const { lines } = markdownLines(text);
  const { items, rest } = listItems(lines);
  const findings: Finding[] = [];
  const works =
    items.length === 0
      ? paragraphs(lines).map(paragraphWork)
      : items.map((item): Work => {
          const { text: title, line, body, box = "open", number } = item;
          return {
            title,
            line,
            body: joined(body),
            criteria: checkboxes(body),
            state: box,
            labels: [],
            ...(number === undefined ? {} : { number }),
          };
        });
  const left = items.length === 0 ? undefined : rest.find((line) => line.text.trim() !== "");
  if (left !== undefined) {
    const message = `there is a list, so text beside it is left out: ${left.text.trim().slice(0, 60)}`;
    findings.push({
      severity: "warning",
      rule: "left-out",
      file,
      line: left.number,
      message,
      fix: "make it an item, or indent it below one",
    });
  }
  if (works.length === 0)
    findings.push({
      severity: "warning",
      rule: "empty",
      file,
      line: 1,
      message: "the file is empty",
      fix: "write a line for each piece of work",
    });
  return { name: basename(file).replace(/\.[^.]*$/, ""), items: itemsOf(works, "text", file, findings), findings };
}

function paragraphs(lines: readonly MarkdownLine[]): MarkdownLine[][] {
  const found: MarkdownLine[][] = [];
  let current: MarkdownLine[] = [];
  for (const line of lines) {
    const blank = line.text.trim() === "" && !line.verbatim;
    if (!blank) current.push(line);
    if (blank && current.length > 0) found.push(current);
    if (blank) current = [];
  }
  return current.length > 0 ? [...found, current] : found;
}

function paragraphWork(lines: readonly MarkdownLine[]): Work {
  const first = (lines[0]?.text ?? "").trim().replace(/^#{1,6}[ \t]+/, "");
  const below = joined(lines.slice(1));
  const title = first.length <= longestTitle ? first : firstSentence(first);
  const body = title === first ? below : joined(lines);
  return { title, line: lines[0]?.number ?? 1, body, criteria: [], state: "open", labels: [] };
}

function firstSentence(text: string): string {
  const end = /[.!?](?=\s)/.exec(text.slice(0, longestTitle));
  if (end !== null) return text.slice(0, end.index);
  const cut = text.slice(0, longestTitle);
  return `${cut.slice(0, cut.lastIndexOf(" ") > 0 ? cut.lastIndexOf(" ") : cut.length)}…`;
}
