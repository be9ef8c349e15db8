import type { z } from "zod";
import { type Finding, formatFindingInFull, UserError } from "../domain/errors.ts";
import { readTextFile } from "./read-text.ts";
import { problemsOf } from "./schema-problems.ts";
import { broken, parseYamlText, type YamlText } from "./yaml-text.ts";

/** A YAML file that was read: its value when the schema holds, and everything that is wrong with it, errors or not. */
export interface YamlFile<T> extends YamlText {
  file: string;
  text: string;
  value: T | undefined;
}

/** Reads and checks a YAML file (regular, at most 1 MiB). Never throws for what is in it. */
export function readYamlFile<S extends z.ZodType>(file: string, schema: S): YamlFile<z.output<S>> {
  const read = readTextFile(file);
  if ("text" in read) return parseYaml(read.text, file, schema);
  const fix = read.problem === "missing" ? "check the path" : "make it a readable UTF-8 text file of at most 1 MiB";
  const problem = { severity: "error", rule: "unreadable", file, line: 1, column: 1, field: "", message: read.message, fix } as const;
  return { file, text: "", value: undefined, ...broken(file, problem) };
}

/**
 * Parses and checks YAML text; `file` is its name in findings. Never throws for what is in it.
 * `prepare` changes the content before the schema sees it.
 */
export function parseYaml<S extends z.ZodType>(
  text: string,
  file: string,
  schema: S,
  prepare: (raw: unknown) => unknown = (raw) => raw,
): YamlFile<z.output<S>> {
  const yaml = parseYamlText(text, file);
  if (yaml.findings.length > 0) return { file, text, value: undefined, ...yaml };
  const { raw, place } = yaml;
  const content = prepare(raw);
  const parsed = schema.safeParse(content);
  const all = problemsOf(schema, content, parsed.error?.issues ?? []).map(place);
  const value = parsed.success && all.every((f) => f.severity !== "error") ? (parsed.data as z.output<S>) : undefined;
  return { file, text, value, raw, findings: sortFindings(all), place };
}

/** By place in the file, then by rule, so that the output never depends on the order of the checks. */
export function sortFindings(findings: Finding[]): Finding[] {
  return findings.toSorted(
    (a, b) =>
      a.file.localeCompare(b.file) ||
      (a.line ?? 0) - (b.line ?? 0) ||
      (a.column ?? 0) - (b.column ?? 0) ||
      a.rule.localeCompare(b.rule) ||
      a.message.localeCompare(b.message),
  );
}

/** One error for a person out of all errors of a file. */
export function findingsError(what: string, findings: Finding[], hint?: string): UserError {
  const errors = findings.filter((f) => f.severity === "error");
  return new UserError([what, ...errors.map((f) => `  ${formatFindingInFull(f)}`)].join("\n"), { exit: "invalid", hint });
}
