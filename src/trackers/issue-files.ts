import { readdir, realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { didYouMean, type Finding, UserError } from "../domain/errors.ts";
import { headings, joined, type MarkdownLine, markdownLines, plainText } from "./markdown.ts";
import { readSourceText } from "./source-text.ts";
import { stateOf } from "./states.ts";
import type { SourceItem, SourceRead, Tracker } from "./tracker.ts";

/** Parses YAML text; `file` is its name in findings. */
export type ReadYaml = (text: string, file: string) => { raw: unknown; findings: Finding[] };

/** Longer front matter is somebody's mistake, such as a missing second line of dashes. */
const maxFrontMatterLines = 500;

/** The keys that are read, each with the other spellings of it. */
const spellings = {
  id: ["id", "key"],
  title: ["title", "name"],
  status: ["status", "state"],
  type: ["type", "kind"],
  labels: ["labels", "tags"],
  priority: ["priority"],
  blockedBy: ["blockedBy", "blocked_by", "blocked-by", "dependsOn", "depends_on", "depends-on", "dependencies"],
  group: ["milestone", "sprint", "epic", "project", "category"],
  url: ["url", "link"],
  order: ["order"],
} as const;
type Field = keyof typeof spellings;
const known: readonly string[] = Object.values(spellings).flat();

/** A folder of Markdown files, one for each issue, each with its fields in YAML before its text. Folders in it are not read. */
export function issueFiles(options: { dir: string; readYaml: ReadYaml }): Tracker {
  return {
    async read(signal) {
      const dir = await realpath(options.dir).catch((error) => {
        throw new UserError(`There is no folder ${options.dir}.`, { exit: "notFound", hint: "check the path", cause: error });
      });
      const names = (await readdir(dir)).filter((name) => name.endsWith(".md") && !name.startsWith(".")).toSorted();
      const findings: Finding[] = [];
      const items: SourceItem[] = [];
      if (names.length === 0) {
        const message = "there is no Markdown file in it";
        findings.push({
          severity: "warning",
          rule: "empty",
          file: dir,
          message,
          fix: "write one for each issue; folders in it are not read",
        });
      }
      const files = new Map<string, string>();
      for (const name of names) {
        signal?.throwIfAborted();
        const issue = await readIssue(dir, name, options.readYaml, findings);
        if (issue === undefined) continue;
        const first = files.get(issue.source.id);
        if (first === undefined) items.push(issue);
        else {
          const message = `${first} has the same id, so this file is left out`;
          findings.push({
            severity: "error",
            rule: "duplicate-id",
            file: join(dir, name),
            line: 1,
            message,
            fix: "give one of the two another id",
          });
        }
        files.set(issue.source.id, first ?? name);
      }
      return { name: nameOf(dir), items, findings } satisfies SourceRead;
    },
  };
}

/** A folder's name, unless it says nothing but that there are issues in it. */
function nameOf(dir: string): string {
  const name = basename(dir);
  return /^(?:issues|tickets|tasks|backlog)$/i.test(name) ? basename(dirname(dir)) : name;
}

async function readIssue(dir: string, name: string, readYaml: ReadYaml, findings: Finding[]): Promise<SourceItem | undefined> {
  const file = join(dir, name);
  let text: string;
  try {
    text = await readSourceText(file);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const message = `${error.message.replace(file, "the file").replace(/\.$/, "")}, so it is left out`;
    findings.push({ severity: "error", rule: "unreadable", file, message, ...(error.hint === undefined ? {} : { fix: error.hint }) });
    return undefined;
  }
  return issueOf(text, { dir, name, file, readYaml, findings });
}

interface About {
  dir: string;
  name: string;
  file: string;
  readYaml: ReadYaml;
  findings: Finding[];
}

function issueOf(text: string, about: About): SourceItem | undefined {
  const { dir, name, file, findings } = about;
  const find: Find = (severity, rule, line, message, fix) => findings.push({ severity, rule, file, line, message, fix });
  const parts = frontMatter(text);
  if (parts.front === undefined && /^readme\.md$/i.test(name)) return undefined;
  if (parts.unclosed) find("error", "front-matter", 1, 'the line "---" at the top has no second one', 'close the fields with a line "---"');
  const fields = readFields(parts.front ?? "", about);
  if (fields === undefined) return undefined;
  const { lines, unclosed } = markdownLines(parts.body, parts.bodyLine);
  if (unclosed !== undefined)
    find("warning", "unclosed", unclosed, "nothing closes what begins here, so the rest of the file belongs to it", "close it");
  const heading = headings(lines).find(({ level }) => level === 1);
  const title = titleOf(fields, heading?.title, find);
  if (title === undefined) return undefined;
  const [group, url, order] = [fields.text("group"), fields.text("url"), Number(fields.text("order") ?? Number.NaN)];
  return {
    source: { kind: "issue-files", id: `${dir}#${keyOf(fields, name, find)}`, ...(url === undefined ? {} : { url }) },
    title,
    body: joined(withoutTitle(lines, heading?.line, title)),
    state: readState(fields, find),
    labels: [...fields.list("type"), ...fields.list("labels"), ...fields.list("priority").map((priority) => `priority:${priority}`)],
    blockedBy: fields.list("blockedBy").map((other) => `${dir}#${other}`),
    ...(group === undefined ? {} : { group }),
    ...(Number.isFinite(order) ? { order } : {}),
  };
}

type Find = (severity: Finding["severity"], rule: string, line: number, message: string, fix: string) => void;

function keyOf(fields: Fields, name: string, find: Find): string {
  const stated = fields.text("id");
  if (stated !== undefined) return stated;
  const key = name.slice(0, -".md".length);
  find("warning", "missing", 1, `there is no "id"; the name of the file stands for it: ${key}`, "add it to the fields at the top");
  return key;
}

function titleOf(fields: Fields, heading: string | undefined, find: Find): string | undefined {
  const stated = fields.text("title");
  if (stated !== undefined) return stated;
  const title = plainText(heading ?? "");
  const fix = 'add "title" to the fields at the top';
  if (title === "") find("error", "missing", 1, 'there is neither a "title" nor a heading, so the file is left out', fix);
  else find("warning", "missing", 1, 'there is no "title"; the first heading stands for it', fix);
  return title === "" ? undefined : title;
}

function readState(fields: Fields, find: Find): SourceItem["state"] {
  const word = fields.text("status") ?? "open";
  const state = stateOf(word);
  const message = `${JSON.stringify(word)} is no status that is known; it is taken for open`;
  if (state === undefined) find("warning", "bad-status", fields.lineOf("status"), message, "write open, done or dropped");
  return state ?? "open";
}

/** A text's fields, between two lines of dashes at its top, and what follows them. */
function frontMatter(text: string): { front?: string; body: string; bodyLine: number; unclosed: boolean } {
  const whole = { body: text, bodyLine: 1, unclosed: false };
  if (!/^---[ \t]*(?:\n|$)/.test(text)) return whole;
  const lines = text.split("\n", maxFrontMatterLines);
  const end = lines.findIndex((line, index) => index > 0 && /^(?:---|\.\.\.)[ \t]*$/.test(line));
  if (end < 0) return { ...whole, unclosed: true };
  // The blank line in place of the dashes keeps the lines' numbers.
  const front = ["", ...lines.slice(1, end)].join("\n");
  return {
    front,
    body: text
      .split("\n")
      .slice(end + 1)
      .join("\n"),
    bodyLine: end + 2,
    unclosed: false,
  };
}

interface Fields {
  text(field: Field): string | undefined;
  list(field: Field): string[];
  lineOf(field: Field): number;
}

/** The fields of a file; undefined, with findings, when they cannot be read. */
function readFields(front: string, { file, readYaml, findings }: About): Fields | undefined {
  const yaml = front.trim() === "" ? { raw: {}, findings: [] } : readYaml(front, file);
  findings.push(...yaml.findings);
  if (yaml.findings.some(({ severity }) => severity === "error")) return undefined;
  const raw = new Map(Object.entries(typeof yaml.raw === "object" && yaml.raw !== null && !Array.isArray(yaml.raw) ? yaml.raw : {}));
  const lineOfKey = (key: string) => front.split("\n").findIndex((line) => line.startsWith(`${key}:`)) + 1 || 1;
  for (const key of raw.keys()) {
    const meant = known.includes(key) ? undefined : didYouMean(key, known);
    if (meant === undefined || raw.has(meant)) continue;
    const message = `"${key}" is no field that is read`;
    findings.push({
      severity: "warning",
      rule: "unknown-key",
      file,
      line: lineOfKey(key),
      field: key,
      message,
      fix: `did you mean "${meant}"?`,
    });
  }
  const keyOfField = (field: Field) => spellings[field].find((key) => raw.has(key) && raw.get(key) !== null);
  const values = (field: Field) => {
    const value = raw.get(keyOfField(field) ?? "");
    return (Array.isArray(value) ? value : [value]).flatMap(asText);
  };
  return {
    text: (field) => values(field)[0],
    list: (field) =>
      values(field).flatMap((value) =>
        value
          .split(",")
          .map((part) => part.trim())
          .filter((part) => part !== ""),
      ),
    lineOf: (field) => lineOfKey(keyOfField(field) ?? ""),
  };
}

function asText(value: unknown): string[] {
  if (typeof value !== "string" && typeof value !== "number") return [];
  const text = String(value).trim();
  return text === "" ? [] : [text];
}

/** A body without the heading at its top that only repeats the title. */
function withoutTitle(body: readonly MarkdownLine[], line: number | undefined, title: string): readonly MarkdownLine[] {
  const first = body.findIndex(({ text }) => text.trim() !== "");
  const isTitle = body[first]?.number === line && plainText((body[first]?.text ?? "").replace(/^ *#/, "")) === title;
  return isTitle ? body.slice(first + 1) : body;
}
