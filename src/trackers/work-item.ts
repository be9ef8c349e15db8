import { createHash } from "node:crypto";
import type { Finding } from "../domain/errors.ts";
import { plainText, slug } from "./markdown.ts";
import { splitTitle } from "./references.ts";
import type { SourceItem } from "./tracker.ts";

/** A piece of work as it stands in a text that has no fields. */
export interface Work {
  /** As written, with whatever marks. */
  title: string;
  line: number;
  body: string;
  criteria: readonly string[];
  state: SourceItem["state"];
  labels: readonly string[];
  group?: string;
  /** Of a numbered list. */
  number?: number;
}

/**
 * The items of a file's works. What has no id of its own (`T-12: …`) is known by the words of its title: the same words mean
 * the same item when the file is read again, wherever it stands by then.
 */
export function itemsOf(works: readonly Work[], kind: "backlog" | "text", file: string, findings: Finding[]): SourceItem[] {
  const lines = new Map<string, number>();
  return works.flatMap((work, index): SourceItem[] => {
    const { title, key, labels, rest, before } = readTitle(work.title);
    if (title === "") {
      findings.push({
        severity: "warning",
        rule: "empty",
        file,
        line: work.line,
        message: "there is nothing in this item, so it is left out",
        fix: "fill it in, or remove it",
      });
      return [];
    }
    const wanted = key ?? (slug(title) || createHash("sha256").update(title).digest("hex").slice(0, 8));
    const anchor = free(wanted, lines);
    if (anchor !== wanted) {
      const message = `line ${lines.get(wanted)} ${key === undefined ? "has nearly the same words" : "has the same id"}, so this one is known as ${anchor}`;
      findings.push({
        severity: "warning",
        rule: "duplicate-id",
        file,
        line: work.line,
        message,
        fix: 'begin each with an id of its own: "T-1: …"',
      });
    }
    lines.set(anchor, work.line);
    const item: SourceItem = {
      source: { kind, id: `${file}#${anchor}` },
      title: before === "" ? title : `${title} ${before}`,
      body: [rest, work.body].filter((part) => part !== "").join("\n\n"),
      state: work.state,
      labels: [...work.labels, ...labels],
      blockedBy: [],
      criteria: work.criteria,
      ...(work.group === undefined ? {} : { group: work.group }),
      order: index + 1,
      ...(work.number === undefined ? {} : { number: work.number }),
    };
    return [item];
  });
}

function free(wanted: string, taken: ReadonlyMap<string, unknown>): string {
  let name = wanted;
  for (let count = 2; taken.has(name); count++) name = `${wanted}-${count}`;
  return name;
}

/** The parts of a first line such as `[bug] T-12: **Log in** - with email (after T-11) #auth`. What it waits for (`before`) is no part of what it is known by. */
function readTitle(text: string): { title: string; key?: string; labels: string[]; rest: string; before: string } {
  const labels: string[] = [];
  let key: string | undefined;
  const { title: own, before } = splitTitle(text.length > 2000 ? text : text.replace(/^~~|~~$/g, "").trim());
  let left = own;
  const take = (pattern: RegExp, use: (value: string) => void) => {
    for (let match = pattern.exec(left); match !== null; match = pattern.exec(left)) {
      const rest = `${left.slice(0, match.index)}${left.slice(match.index + match[0].length)}`.trim();
      // What is nothing but marks is a title all the same.
      if (rest === "") return;
      left = rest;
      use(match.slice(1).find((group) => group !== undefined) ?? "");
    }
  };
  take(/^\[([A-Za-z][\w:/ -]{0,30})\](?![(:[])/, (value) => {
    if (isKey(value)) key ??= value;
    else labels.push(value);
  });
  take(/^\(?(P[0-3])(?:\)[:\s]|:\s)/, (value) => labels.push(value));
  take(/^\*{0,2}([A-Z][A-Z0-9_]{0,9}-\d{1,6})\*{0,2}(?:[:.)]|\s+[-–—](?=\s))\*{0,2}/, (value) => {
    key ??= value;
  });
  if (left.length <= 2000)
    take(/\s(?:#([A-Za-z][\w-]{0,40})|[([](P[0-3])[)\]]|\[([A-Za-z][\w:/ -]{0,30})\])$/, (value) => labels.push(value));
  const bold = /^\*\*([^*]{1,200})\*\*(?:\s*[:–—-])?\s+(?=\S)/.exec(left);
  const title = plainText(bold?.[1] ?? left).replace(/:$/, "");
  return { title, ...(key === undefined ? {} : { key }), labels, rest: bold === null ? "" : left.slice(bold[0].length).trim(), before };
}

function isKey(text: string): boolean {
  return /^[A-Z][A-Z0-9_]{0,9}-\d{1,6}$/.test(text);
}
