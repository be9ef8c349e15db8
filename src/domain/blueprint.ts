import * as z from "zod";

/** A value that whoever applies a blueprint gives. */
const BlueprintParam = z.strictObject({
  description: z.string().min(1),
  /** Taken when nobody gives one. Without it the value is required. */
  default: z.string().optional(),
  /** Shown to people, and what the blueprint is checked with. */
  example: z.string().optional(),
});

/** A blueprint: a plan whose texts are templates. Unknown keys are refused: a misspelt one would be lost. */
export const BlueprintFile = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, { error: "a blueprint's name has at most 64 lower-case letters, digits or dashes" }),
  description: z.string().default(""),
  /** Templates read them as `params.<name>`. */
  params: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), BlueprintParam).default({}),
  /** The draft of a plan. */
  plan: z.record(z.string(), z.unknown()),
});
export type BlueprintFile = z.infer<typeof BlueprintFile>;
