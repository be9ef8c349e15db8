import { Unreadable } from "./json.ts";

/** Brings a document from one schema number to the next. */
export type Migration = (document: Record<string, unknown>) => Record<string, unknown>;

/** steps[n] leads from schema n + 1 to n + 2. */
export const ticketMigrations: readonly Migration[] = [];
export const planMigrations: readonly Migration[] = [];

/**
 * Brings a parsed file to the schema this program knows, `steps.length + 1`. A missing number means 1.
 * Throws Unreadable for a value that is no object, for a wrong number and for files of newer programs, which stay untouched.
 */
export function migrate(value: unknown, file: string, steps: readonly Migration[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Unreadable({ file, message: "this is not a JSON object", hint: "the file starts with { and ends with }" });
  }
  let document = value as Record<string, unknown>;
  const known = steps.length + 1;
  const schema = document.schema ?? 1;
  if (typeof schema !== "number" || !Number.isInteger(schema) || schema < 1) {
    throw new Unreadable({ file, message: "schema: expected a whole number from 1", hint: `write "schema": ${known}` });
  }
  if (schema > known) {
    throw new Unreadable({
      file,
      message: `schema ${schema} needs a newer orchestrator (this one knows ${known})`,
      hint: "update orchestrator; until then the file is left as it is",
    });
  }
  for (let at = schema; at < known; at++) document = { ...(steps[at - 1] as Migration)(document), schema: at + 1 };
  return document;
}
