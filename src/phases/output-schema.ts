import { UserError } from "../domain/errors.ts";
import { schemaType } from "../lib/schema-type.ts";

/** What keeps a final message from satisfying a JSON Schema; undefined when nothing does. Throws a UserError for a schema that is none. */
export function outputProblem(schema: Record<string, unknown>, finalText: string): string | undefined {
  const type = checkedSchema(schema);
  let value: unknown;
  try {
    value = JSON.parse(unfenced(finalText));
  } catch {
    return "Its final message is not the JSON that the outputSchema asks for.";
  }
  const { error } = type.safeParse(value);
  if (!error) return undefined;
  const issues = error.issues.slice(0, 5).map(({ path, message }) => `${path.join(".") || "the whole"}: ${message}`);
  return `Its final message does not satisfy the outputSchema: ${issues.join("; ")}.`;
}

/** What an agent is told whose program cannot be held to a schema. */
export function schemaRequest(schema: Record<string, unknown>): string {
  return `\n\nYour final message must be JSON that satisfies this JSON Schema, and nothing else:\n\n${JSON.stringify(schema, undefined, 2)}\n`;
}

function checkedSchema(schema: Record<string, unknown>): ReturnType<typeof schemaType> {
  try {
    return schemaType(schema);
  } catch (error) {
    throw new UserError(`The outputSchema cannot be used: ${error instanceof Error ? error.message : String(error)}.`, {
      hint: "write a JSON Schema that needs no other document",
      exit: "invalid",
    });
  }
}

/** Agents like to set JSON off as code. */
function unfenced(text: string): string {
  return /^\s*```(?:json)?\s*\n([\s\S]*?)\n```\s*$/.exec(text)?.[1] ?? text;
}
