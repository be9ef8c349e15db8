import { realpath } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { type Finding, suggestion, UserError } from "../domain/errors.ts";
import { LockTimeout } from "../lib/file-lock.ts";
import { jsonErrorAt } from "../lib/json-syntax.ts";
import { FileKeepsChanging, rewriteFile } from "../lib/rewrite-file.ts";
import { edited, type JsonPart, jsonParts, member, setMembers } from "./json-members.ts";
import { readSourceBytes, withoutMark } from "./source-text.ts";
import type { Progress, SourceItem, SourceRead, Tracker } from "./tracker.ts";

/** Longer than anybody writes to such a file. */
const lockTimeoutMs = 10_000;
const statuses = ["open", "verifying", "passed", "failed"];
const written = { in_progress: "verifying", done: "passed", failed: "failed" } as const;

/**
 * A features.json: a list of features, or an object with such a list under "features". Statuses are written back in their place; of the
 * rest of the file no byte changes. `lockFile` is what other writers of ours wait for.
 */
export function featuresJson(options: { file: string; lockFile: string }): Tracker {
  return {
    async read() {
      const bytes = await readSourceBytes(options.file);
      return readFeatures(bytes.toString("utf8"), await realpath(options.file));
    },
    async writeBack(progress) {
      await readSourceBytes(options.file);
      const file = await realpath(options.file);
      const news = new Map(progress.flatMap((one) => ofFile(one, file)));
      let missing: string[] = [];
      const change = (before: Buffer) => {
        const result = withProgress(before.toString("utf8"), file, news);
        missing = result.missing;
        return Buffer.from(result.text);
      };
      await rewriteFile(file, change, { lockFile: options.lockFile, timeoutMs: lockTimeoutMs }).catch((error) => {
        throw unwritten(file, error);
      });
      if (missing.length > 0) throw gone(file, missing);
    },
  };
}

function unwritten(file: string, error: NodeJS.ErrnoException): unknown {
  const options = { exit: "tryLater", hint: "try again", cause: error } as const;
  if (error instanceof FileKeepsChanging) return new UserError(`${error.message}, so nothing was written to it.`, options);
  if (error instanceof LockTimeout) return new UserError(`${file} is being written by somebody else; nothing was written to it.`, options);
  if (error instanceof UserError || error.code === undefined) return error;
  return new UserError(`${file} cannot be written (${error.code}).`, {
    hint: "check the permissions of it and of its folder",
    cause: error,
  });
}

function gone(file: string, ids: string[]): UserError {
  const what = ids.length === 1 ? `no feature ${ids[0]}` : `no features ${ids.join(", ")}`;
  return new UserError(`${file} has ${what} any more; the others were written.`, { exit: "notFound", hint: "put it back, or leave it" });
}

function ofFile(progress: Progress, file: string): [string, Progress][] {
  const { kind, id } = progress.source;
  return kind === "features" && id.startsWith(`${file}#`) ? [[id.slice(file.length + 1), progress]] : [];
}

/** The features of a text; `file` names it in findings and in the ids of the items. UserError when it is no list of features. */
function readFeatures(original: string, file: string): SourceRead {
  const text = withoutMark(original);
  const { list, place, name } = parsed(text, file);
  const findings: Finding[] = [];
  const items: SourceItem[] = [];
  const first = new Map<string, number>();
  for (const [index, raw] of list.entries()) {
    const find = (severity: Finding["severity"], rule: string, key: string | undefined, message: string, fix: string) =>
      findings.push({ severity, rule, file, ...place(index, key), field: field(index, key), message, fix });
    const id = idOf(raw);
    if (!isObject(raw)) find("error", "no-feature", undefined, "this is no feature, so it is left out", "write an object");
    else if (id === undefined) find("error", "bad-id", "id", "a feature needs a whole number as its id; it is left out", "give it one");
    else if (first.has(id))
      find(
        "error",
        "duplicate-id",
        "id",
        `features[${first.get(id)}] has the id ${id} already; this one is left out`,
        "give it another id",
      );
    else {
      first.set(id, index);
      const item = itemOf(raw, { id, file, index, find });
      if (item !== undefined) items.push(item);
    }
  }
  return { name: name ?? basename(dirname(file)), items, findings };
}

function field(index: number, key: string | undefined): string {
  return key === undefined ? `features[${index}]` : `features[${index}].${key}`;
}

interface Parsed {
  list: unknown[];
  parts: readonly JsonPart[];
  name?: string;
  /** Line and column of a feature's member, or of the feature. */
  place(index: number, key?: string): { line: number; column: number };
}

function parsed(text: string, file: string): Parsed {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw notJson(text, file, error as SyntaxError);
  }
  const root = jsonParts(text, 3);
  const object = isObject(value) ? value : undefined;
  const list = object === undefined ? value : object.features;
  if (!Array.isArray(list))
    throw new UserError(`${file} holds no list of features.`, { exit: "invalid", hint: 'write a list, or {"features": [ … ]}' });
  const { parts } = (object === undefined ? root : member(root, "features")) ?? { parts: [] };
  const starts = lineStarts(text);
  const name = [object?.name, object?.project].find((each) => typeof each === "string" && each !== "");
  return {
    list,
    parts,
    ...(typeof name === "string" ? { name } : {}),
    place(index, key) {
      const part = parts[index];
      const spot = key === undefined ? undefined : member(part, key);
      return placeAt(starts, spot?.keyStart ?? part?.start ?? 0);
    },
  };
}

function notJson(text: string, file: string, error: SyntaxError): UserError {
  const at = jsonErrorAt(text, error);
  const { line, column } = placeAt(lineStarts(text), at);
  const message = error.message.replace(/ in JSON at position.*/s, "").replace(/, (\.\.\.)?".*/s, "");
  const comma = /,\s{0,1000}$/.test(text.slice(Math.max(0, at - 1001), at)) && /[}\]]/.test(text.charAt(at));
  const hint = comma ? "remove the comma before it" : "correct the JSON; until then nothing of the file is read or written";
  return new UserError(`${file}:${line}:${column}: ${message.replace(/(?: of)? JSON input$/, " of the file")}.`, { exit: "invalid", hint });
}

function lineStarts(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}

function placeAt(starts: readonly number[], offset: number): { line: number; column: number } {
  let [low, high] = [0, starts.length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((starts[middle] ?? 0) <= offset) low = middle;
    else high = middle;
  }
  return { line: low + 1, column: offset - (starts[low] ?? 0) + 1 };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A feature's id as text. A number in quotes is taken for the number. */
function idOf(raw: unknown): string | undefined {
  const id = isObject(raw) ? raw.id : undefined;
  if (typeof id === "number" && Number.isSafeInteger(id) && id >= 0) return String(id);
  return typeof id === "string" && /^\d{1,15}$/.test(id) ? String(Number(id)) : undefined;
}

type Find = (severity: Finding["severity"], rule: string, key: string, message: string, fix: string) => void;

function itemOf(raw: Record<string, unknown>, about: { id: string; file: string; index: number; find: Find }): SourceItem | undefined {
  const { id, file, index, find } = about;
  const title = textOf(raw, "name", find);
  if (title === "") {
    find("error", "missing", "name", `feature ${id} has no name, so it is left out`, 'add "name"');
    return undefined;
  }
  const criteria = listOf(raw, "steps", find).filter((step) => step.trim() !== "");
  const group = textOf(raw, "category", find);
  const reason = typeof raw.failure_reason === "string" ? raw.failure_reason.trim() : "";
  const status = statusOf(raw.status, find);
  const failed = status === "failed" && reason !== "" ? `\n\nIt was tried before and failed: ${reason}` : "";
  return {
    source: { kind: "features", id: `${file}#${id}` },
    title,
    body: (textOf(raw, "description", find) + failed).trim(),
    state: status === "passed" ? "done" : "open",
    labels: listOf(raw, "labels", undefined),
    blockedBy: ["blockedBy", "dependsOn", "dependencies"].flatMap((key) => listOf(raw, key, undefined)).map((other) => `${file}#${other}`),
    criteria,
    ...(group === "" ? {} : { group }),
    order: index + 1,
  };
}

function statusOf(value: unknown, find: Find): string {
  if (typeof value === "string" && statuses.includes(value)) return value;
  const what = value === undefined ? "there is no status" : `${JSON.stringify(value)} is no status${near(value)}`;
  find("warning", "bad-status", "status", `${what}; it is taken for open`, `use one of ${statuses.join(", ")}`);
  return "open";
}

function near(value: unknown): string {
  return typeof value === "string" ? suggestion(value.slice(0, 40), statuses) : "";
}

/** A member that is to be text; "" with a finding when it is missing or something else. */
function textOf(raw: Record<string, unknown>, key: string, find: Find): string {
  const value = raw[key];
  if (typeof value === "string") return value.trim();
  // A missing name is an error of its own.
  if (key === "name" && value === undefined) return "";
  const what = value === undefined ? `there is no "${key}"` : `"${key}" is no text`;
  find("warning", value === undefined ? "missing" : "wrong-type", key, what, `write "${key}" as text`);
  return "";
}

/** A member that is to be a list of texts or numbers; only what is one of these is taken. */
function listOf(raw: Record<string, unknown>, key: string, find: Find | undefined): string[] {
  const value = Object.hasOwn(raw, key) ? raw[key] : undefined;
  const list = Array.isArray(value) ? value : [];
  const texts = list.filter((one) => typeof one === "string" || typeof one === "number").map(String);
  if (find !== undefined && !Array.isArray(value))
    find("warning", value === undefined ? "missing" : "wrong-type", key, `there is no list "${key}"`, `write "${key}" as a list of texts`);
  else if (find !== undefined && texts.length < list.length)
    find("warning", "wrong-type", key, `not everything in "${key}" is text; only what is was read`, "write texts");
  return texts;
}

/** The text with the statuses that follow from the news, by id; ids that it does not have are `missing`. UserError as for reading. */
function withProgress(original: string, file: string, news: ReadonlyMap<string, Progress>): { text: string; missing: string[] } {
  const text = withoutMark(original);
  const { list, parts } = parsed(text, file);
  const missing = new Set(news.keys());
  const edits = list.flatMap((raw, index) => {
    const id = idOf(raw);
    const part = parts[index];
    const progress = id === undefined || !missing.delete(id) ? undefined : news.get(id);
    // What has passed stays so, whoever said it: a ticket that goes on to fail is no reason to take that back.
    if (progress === undefined || part === undefined || (isObject(raw) && raw.status === "passed")) return [];
    return setMembers(text, part, members(progress));
  });
  return { text: original.slice(0, original.length - text.length) + edited(text, edits), missing: [...missing] };
}

function members({ status, note }: Progress): Map<string, unknown> {
  const values = new Map<string, unknown>([["status", written[status]]]);
  if (status === "failed") return note === undefined ? values : values.set("failure_reason", note);
  // Both belong to a failure that is over.
  return values.set("failure_reason", undefined).set("failure_category", undefined);
}
