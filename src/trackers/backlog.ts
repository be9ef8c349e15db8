import { realpath } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { type Finding, suggestion, UserError } from "../domain/errors.ts";
import { checkboxes } from "./criteria.ts";
import { type Heading, headings, joined, type ListItem, listItems, type MarkdownLine, markdownLines, plainText, slug } from "./markdown.ts";
import { readSourceText } from "./source-text.ts";
import { stateOf } from "./states.ts";
import type { SourceItem, SourceRead, Tracker } from "./tracker.ts";
import { itemsOf, type Work } from "./work-item.ts";

const usual = /^(?:backlog|to-?dos?|to do|roadmap|tasks|next steps|next up|next)$/i;
/** Headings that sort what stands below them instead of being work themselves. */
const sorts =
  /^(?:p[0-3]|(?:low|medium|normal|high|highest|critical|urgent)(?: priority)?|priority .{0,20}|must(?: have)?|should(?: have)?|could(?: have)?|(?:phase|milestone|sprint|week|stage|iteration|version|release) .{1,60}|v?\d+(?:\.\d+)*|(?:features?|bugs?|bug ?fix(?:es)?|chores?|docs|documentation|tests?|refactor(?:ing)?s?|ideas)|q[1-4](?: .{1,20})?)$/i;

/**
 * A section of a Markdown file: its list items are the work, or its sub-headings where there are no lists beside them.
 * Without `heading` the first section with a usual name (Backlog, To do, Roadmap, Tasks, Next) is read.
 */
export function backlog(options: { file: string; heading?: string }): Tracker {
  return {
    async read() {
      const text = await readSourceText(options.file);
      return readBacklog(text, await realpath(options.file), options.heading);
    },
  };
}

function readBacklog(text: string, file: string, wanted: string | undefined): SourceRead {
  const { lines, unclosed } = markdownLines(text);
  const all = headings(lines);
  const section = findSection(all, file, wanted);
  const findings: Finding[] = [];
  if (unclosed !== undefined && unclosed >= section.line && unclosed <= (lines[section.to - 1]?.number ?? 0)) {
    const message = "nothing closes what begins here, so the rest of the file belongs to it";
    findings.push({ severity: "warning", rule: "unclosed", file, line: unclosed, message, fix: "close it" });
  }
  const inside = all.filter(({ start, to }) => start >= section.from && to <= section.to);
  const works = sectionWorks(lines, section, inside, { file, findings });
  if (works.length === 0) {
    const message = `there is no work below "${section.title}"`;
    findings.push({
      severity: "warning",
      rule: "empty",
      file,
      line: section.line,
      message,
      fix: "write it as list items or as sub-headings",
    });
  }
  return { name: nameOf(section, file), items: itemsOf(works, "backlog", file, findings), findings };
}

function nameOf(section: Heading, file: string): string {
  return usual.test(plainText(section.title)) ? basename(dirname(file)) : plainText(section.title);
}

function findSection(all: readonly Heading[], file: string, wanted: string | undefined): Heading {
  const titles = all.map(({ title }) => plainText(title));
  const fits = (title: string) => {
    if (wanted === undefined) return usual.test(title.replace(/:$/, ""));
    return title.toLowerCase() === wanted.trim().toLowerCase() || (slug(wanted) !== "" && slug(title) === slug(wanted));
  };
  const found = all[titles.findIndex(fits)];
  if (found !== undefined) return found;
  const what = wanted === undefined ? "a section Backlog, To do, Roadmap, Tasks or Next" : `a section "${wanted}"`;
  const near = wanted === undefined ? "" : suggestion(wanted, titles);
  const listed = titles.length === 0 ? "it has no headings" : `it has: ${titles.slice(0, 20).join(", ")}`;
  throw new UserError(`${file} does not have ${what}${near}.`, { exit: "notFound", hint: `${listed}; name one after "#"` });
}

interface About {
  file: string;
  findings: Finding[];
}

/** What stands above work: it says something of all that stands below it. */
interface Above {
  group?: string;
  labels: string[];
  state: SourceItem["state"];
}

function sectionWorks(lines: readonly MarkdownLine[], section: Heading, inside: readonly Heading[], about: About): Work[] {
  const own = lines.slice(section.from, inside[0]?.start ?? section.to);
  const { items, rest } = listItems(own);
  if (items.length > 0)
    leftOut(
      rest.filter((line) => line.number > (items[0]?.line ?? 0)),
      about,
    );
  const above: Above = { labels: [], state: "open" };
  const direct = items.map((item) => listWork(item, above));
  return [
    ...direct,
    ...outermost(inside).flatMap((child) => headingWorks(lines, child, inside, { above, sorting: items.length > 0, about })),
  ];
}

/** Those headings that stand below none of the others. */
function outermost(inside: readonly Heading[]): Heading[] {
  let end = 0;
  return inside.filter((heading) => {
    if (heading.start < end) return false;
    end = heading.to;
    return true;
  });
}

interface Below {
  above: Above;
  /** Work is written as list items here, so that a heading only sorts it. */
  sorting: boolean;
  about: About;
}

function headingWorks(lines: readonly MarkdownLine[], heading: Heading, all: readonly Heading[], { above, sorting, about }: Below): Work[] {
  const title = plainText(heading.title).replace(/:$/, "");
  const inside = all.filter(({ start, to }) => start >= heading.from && to <= heading.to);
  const { items, rest } = listItems(lines.slice(heading.from, inside[0]?.start ?? heading.to));
  const state = stateOf(title);
  const isSort = sorting || state !== undefined || sorts.test(title) || inside.length > 0 || heading.title.trim().endsWith(":");
  if (!isSort) return [headingWork(lines, heading, above)];
  leftOut(
    rest.filter((line) => line.number > (items[0]?.line ?? Number.POSITIVE_INFINITY)),
    about,
  );
  const below: Above = {
    ...above,
    ...(state === undefined ? { group: title, labels: [...above.labels, title] } : {}),
    state: above.state === "open" ? (state ?? "open") : above.state,
  };
  const deeper = outermost(inside).flatMap((child) => headingWorks(lines, child, inside, { above: below, sorting, about }));
  return [...items.map((item) => listWork(item, below)), ...deeper];
}

/** Text between list items that belongs to none of them is nobody's work; somebody may have meant it to be. */
function leftOut(rest: readonly MarkdownLine[], { file, findings }: About): void {
  const line = rest.find(({ text, verbatim }) => text.trim() !== "" && !verbatim && !/^\s*(?:-{3,}|\*{3,}|_{3,})\s*$/.test(text));
  if (line === undefined) return;
  const message = `this text belongs to no item, so it is left out: ${line.text.trim().slice(0, 60)}`;
  findings.push({
    severity: "warning",
    rule: "left-out",
    file,
    line: line.number,
    message,
    fix: "indent it below its item, or make it one",
  });
}

function headingWork(lines: readonly MarkdownLine[], heading: Heading, above: Above): Work {
  const body = lines.slice(heading.from, heading.to);
  return { ...above, title: heading.title, line: heading.line, body: joined(body), criteria: checkboxes(body) };
}

function listWork(item: ListItem, above: Above): Work {
  const struck = /^~~.*~~$/.test(item.text);
  const own = struck ? "dropped" : (item.box ?? "open");
  return {
    ...above,
    title: item.text,
    line: item.line,
    body: joined(item.body),
    criteria: checkboxes(item.body),
    state: above.state === "open" ? own : above.state,
    ...(item.number === undefined ? {} : { number: item.number }),
  };
}
