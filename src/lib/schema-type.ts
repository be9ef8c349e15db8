import * as z from "zod";

/** What a JSON Schema accepts, as a type that checks values. Throws an Error that says why for a schema that cannot be checked here. */
export function schemaType(schema: Record<string, unknown>): z.ZodType {
  return z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]);
}
