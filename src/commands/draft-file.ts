import { resolve } from "node:path";
import { text as readStream } from "node:stream/consumers";
import type * as z from "zod";
import type { Context } from "../app.ts";
import { PlanDraft } from "../domain/draft.ts";
import { type Finding, UserError } from "../domain/errors.ts";
import { readTextFile } from "../inputs/read-text.ts";
import { problemsOf } from "../inputs/schema-problems.ts";
import { parseYamlText } from "../inputs/yaml-text.ts";
import { inDraft, misfits, type Place } from "../planner/check-draft.ts";

/** A text that a person wrote, as YAML or JSON, and what is wrong with it. `value` is there when no finding is an error. */
export interface ReadInput<T> {
  value: T | undefined;
  findings: Finding[];
  place: Place;
}

/** Whether an argument names a plan rather than a file: a plan's id has no slash and no ending that texts have. */
export function isPlanId(name: string): boolean {
  return name !== "-" && !name.includes("/") && !/\.(ya?ml|json)$/i.test(name);
}

/** Reads a file, or standard input for "-". UserError when there is none or it cannot be read. */
export async function readInput(context: Context, name: string): Promise<{ text: string; file: string }> {
  if (name === "-") return { text: await readStream(process.stdin), file: "(standard input)" };
  const file = resolve(context.cwd, name);
  const read = readTextFile(file);
  if ("text" in read) return { text: read.text, file };
  throw new UserError(`${file}: ${read.message}.`, { exit: read.problem === "missing" ? "notFound" : "invalid" });
}

/** Reads a plan from a text. Never throws for what is in it. */
export function readDraft({ text, file }: { text: string; file: string }): ReadInput<PlanDraft> {
  const { raw, findings, place: inText } = parseYamlText(text, file);
  const place = inDraft(raw, inText);
  if (findings.length > 0) return { value: undefined, findings, place };
  const parsed = PlanDraft.safeParse(raw);
  if (parsed.success) return { value: parsed.data, findings: [], place };
  return { value: undefined, findings: misfits(raw, place), place };
}

/** Reads a value of a schema from a text. Never throws for what is in it. */
export function readFields<S extends z.ZodType>({ text, file }: { text: string; file: string }, schema: S): ReadInput<z.output<S>> {
  const { raw, findings, place } = parseYamlText(text, file);
  if (findings.length > 0) return { value: undefined, findings, place };
  const parsed = schema.safeParse(raw);
  if (parsed.success) return { value: parsed.data, findings: [], place };
  return { value: undefined, findings: problemsOf(schema, raw, parsed.error.issues).map(place), place };
}
