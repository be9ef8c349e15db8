import type * as z from "zod";
import type { Config } from "../domain/config.ts";

/** A person at the other end, where there is one. */
export interface Person {
  /** Shows a text and asks for a yes or no. */
  confirm(title: string, text: string): Promise<boolean>;
  /** Asks; the answer is one of `choices` or, without them, free text. Undefined when the person dismisses the question. */
  ask(question: string, choices: readonly string[]): Promise<string | undefined>;
}

/** What the tools work on. */
export interface Bench {
  config: Config;
  env: NodeJS.ProcessEnv;
  /** Where the session was started. */
  cwd: string;
  /** Who plans, for the records. */
  by: string;
  /** Absent without a terminal: what is written then is a draft, unless `approved`. */
  person?: Person;
  /** Somebody has said yes beforehand. */
  approved?: true;
  signal?: AbortSignal;
}

/** An answer to a model, as text. With `ok: false` it says what to mend and that nothing was written. */
export interface ToolAnswer {
  ok: boolean;
  text: string;
}

/** One thing that a planner can do, whatever agent it is: PI, an MCP client and the command line get the same ones. */
export interface PlanTool<Input = unknown> {
  /** As models see it: snake_case. */
  name: string;
  description: string;
  input: z.ZodType<Input>;
  /** It changes nothing, so nobody needs to be asked. */
  readOnly: boolean;
  run(input: Input, bench: Bench): Promise<ToolAnswer>;
}
