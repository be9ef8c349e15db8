import type { Context } from "../app.ts";
import type { ExitCode } from "../domain/errors.ts";

/** What a command ends with: a named exit code, or the code of the program it stood in for. */
export type Ending = ExitCode | number;

/** The module behind a command, loaded when the command runs. */
export interface CommandModule {
  /** `args` are the positional arguments that were given; `options` the long names in camel case. */
  run(context: Context, args: string[], options: object): Promise<Ending>;
}

/** A positional argument. */
export interface Argument {
  name: string;
  summary: string;
  optional?: true;
  /** Optional for the parser alone: `plan/ticket` as one argument stands for two. */
  joinable?: true;
  choices?: readonly string[];
}

/** An option. `flags` as commander reads them: "-p, --plan <id>". */
export interface Option {
  flags: string;
  summary: string;
  choices?: readonly string[];
  /** What the value has to be; text when absent. */
  value?: { type: "integer"; min: number; max: number };
}

/** A command as a value: parser, help, completion and docs/cli.md all come from it. */
export interface Command {
  /** The words typed after `orchestrator`. */
  name: string;
  summary: string;
  arguments?: readonly Argument[];
  options?: readonly Option[];
  /** It answers `--json`. */
  json?: true;
  /** What the summary leaves out, as paragraphs. */
  details?: string;
  examples?: readonly string[];
  /** For our own scripts; neither help nor completion shows it. */
  hidden?: true;
  /** It goes on when nobody reads its output any more. */
  background?: true;
  load(): Promise<CommandModule>;
}
