import { CommanderError, InvalidArgumentError, Command as Parser, Option as ParserOption, Argument as Positional } from "commander";
import { type ContextParts, createContext } from "./app.ts";
import type { Argument, Command, Ending, Option } from "./commands/command.ts";
import { commands, globalOptions, groups, jsonOption } from "./commands/index.ts";
import { type ExitCode, exitCodes, suggestion, UserError } from "./domain/errors.ts";
import { programVersion } from "./inputs/assets.ts";

interface GlobalOptions {
  config?: string;
  quiet?: boolean;
  color?: boolean;
  json?: boolean;
}

/** The world around one command line. */
interface Outside extends Pick<ContextParts, "env" | "stdout" | "stderr"> {
  /** Where it was typed; throws where that folder is gone. */
  cwd(): string;
}

/** Runs the command that `argv` names, said to `starts` beforehand, and gives the exit code. Errors are said, never thrown. */
export async function main(argv: string[], outside: Outside, starts: (command: Command) => void): Promise<number> {
  let ending: Ending = "ok";
  const parser = buildParser(argv, async (command, args, options) => {
    starts(command);
    const { run } = await command.load();
    const { env, stdout, stderr } = outside;
    const context = createContext({ env, cwd: outside.cwd(), version: programVersion(), stdout, stderr, options });
    ending = await run(context, args, options);
  });
  try {
    if (argv.length === 0) parser.outputHelp();
    else await parser.parseAsync(argv, { from: "user" });
  } catch (error) {
    ending = report(error, argv, outside);
  }
  return typeof ending === "number" ? ending : exitCodes[ending];
}

/** Says what went wrong, to people or to the script that asked for JSON. */
function report(error: unknown, argv: readonly string[], { stdout, stderr }: Outside): ExitCode {
  if (error instanceof CommanderError && error.exitCode === 0) return "ok";
  // A group of commands without one of them: its help has been shown.
  if (error instanceof CommanderError && error.code === "commander.help") return "usage";
  const { exit, message, hint } = explained(error, argv);
  if (argv.includes("--json")) {
    stdout.write(`${JSON.stringify({ apiVersion: "1", error: { code: exit, message, hint: hint ?? null } }, null, 2)}\n`);
  } else if (exit === "bug") {
    stderr.write(
      `${error instanceof Error ? error.stack : message}\nhint:  this is a bug of orchestrator; please report it with the lines above\n`,
    );
  } else {
    stderr.write(`error: ${message}\n${hint === undefined ? "" : `hint:  ${hint}\n`}`);
  }
  return exit;
}

function explained(error: unknown, argv: readonly string[]): { exit: ExitCode; message: string; hint: string | undefined } {
  if (error instanceof UserError) return { exit: error.exit, message: error.message, hint: error.hint };
  if (error instanceof CommanderError) {
    const [first = "", ...more] = error.message.replace(/^error: /, "").split("\n");
    const meant = /^\((.*)\)$/.exec(more.join(" ").trim())?.[1];
    const help = `${["orchestrator", ...commandWords(argv), "--help"].join(" ")} lists what there is`;
    const hint = meant ? `${meant.charAt(0).toLowerCase()}${meant.slice(1)} ${help}` : help;
    return { exit: "usage", message: `${first.charAt(0).toUpperCase()}${first.slice(1)}${first.endsWith(".") ? "" : "."}`, hint };
  }
  const advice = systemAdvice(error as NodeJS.ErrnoException);
  if (advice) return { exit: "failed", message: (error as Error).message, hint: advice };
  return { exit: "bug", message: error instanceof Error ? error.message : String(error), hint: undefined };
}

/** What a person can do about an error of the machine; undefined for everything else, which is a bug. */
function systemAdvice({ code, syscall }: NodeJS.ErrnoException): string | undefined {
  if (syscall === "uv_cwd") return "the folder you are in does not exist any more; go to another one";
  switch (code) {
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return "check the owner and the permissions of this path, and that its disk is not read-only";
    case "ENOSPC":
    case "EDQUOT":
      return "make room on this disk";
    case "EMFILE":
    case "ENFILE":
      return "raise the limit of open files (ulimit -n)";
    case "ENOTDIR":
    case "EISDIR":
    case "EEXIST":
    case "ELOOP":
    case "ENAMETOOLONG":
    case "EIO":
      return "check this path and the disk that it lies on";
    default:
      return undefined;
  }
}

/** The words of argv that are a command, for the hint to its help. */
function commandWords(argv: readonly string[]): string[] {
  const words = argv.filter((word) => !word.startsWith("-"));
  for (const count of [2, 1]) {
    const name = words.slice(0, count).join(" ");
    if (commands.some((command) => command.name === name) || (count === 1 && name in groups)) return name.split(" ");
  }
  return [];
}

/** What happens once a command line is understood. */
type Action = (command: Command, args: string[], options: GlobalOptions) => Promise<void>;

function buildParser(argv: readonly string[], action: Action): Parser {
  const root = prepared(new Parser("orchestrator"))
    .description("Takes tickets from a plan on disk to merged, verified changes, with the coding agents you already have.")
    .version(programVersion(), "-V, --version", "print the version")
    .enablePositionalOptions(false);
  for (const option of globalOptions) root.addOption(parserOption(option));
  const parents = new Map<string, Parser>();
  // Describing all commands takes longer than loading one; behind the name of one, the others play no part.
  const named = commands.filter(({ name }) => name.split(" ")[0] === argv[0]);
  for (const command of named.length > 0 ? named : commands) {
    const [name = "", second] = command.name.split(" ");
    if (second !== undefined) addCommand(parentOf(root, parents, name, command.hidden ?? false), second, command, action);
    else if (name in groups)
      describe(parentOf(root, parents, name, false).enablePositionalOptions().allowExcessArguments(true), command, action);
    else addCommand(root, name, command, action);
  }
  return root;
}

function parentOf(root: Parser, parents: Map<string, Parser>, name: string, hidden: boolean): Parser {
  let parent = parents.get(name);
  if (!parent) {
    parent = prepared(root.command(name, { hidden })).description(groups[name] ?? "");
    parents.set(name, parent);
  }
  return parent;
}

function addCommand(parent: Parser, name: string, command: Command, action: Action): void {
  describe(prepared(parent.command(name, { hidden: command.hidden ?? false })), command, action);
}

function describe(parser: Parser, command: Command, action: Action): void {
  parser.description([sentence(command.summary), command.details].filter((text) => text !== undefined).join("\n\n"));
  parser.summary(command.summary);
  for (const argument of command.arguments ?? []) parser.addArgument(positional(argument));
  const options = [...(command.options ?? []), ...(command.json ? [jsonOption] : []), ...globalOptions];
  for (const option of options) parser.addOption(parserOption(option));
  if (command.examples) parser.addHelpText("after", `\nExamples:\n${command.examples.map((line) => `  $ ${line}`).join("\n")}`);
  parser.action(async () => {
    const [word] = parser.args;
    if (word !== undefined && command.name in groups) {
      const words = commands.flatMap(({ name }) => (name.startsWith(`${command.name} `) ? [name.slice(command.name.length + 1)] : []));
      throw new UserError(`There is no command "${command.name} ${word}"${suggestion(word, words)}.`, {
        exit: "usage",
        hint: `orchestrator ${command.name} --help lists what there is`,
      });
    }
    await action(command, parser.args, mergedOptions(parser));
  });
}

/** Options given before the command's name count as well. */
function mergedOptions(parser: Parser): GlobalOptions {
  const merged: Record<string, unknown> = {};
  for (let level: Parser | null = parser; level; level = level.parent) {
    for (const [name, value] of Object.entries(level.opts())) {
      if (merged[name] === undefined || level.getOptionValueSource(name) === "cli") merged[name] = value;
    }
  }
  return merged;
}

/** Errors are thrown and said once, by report(). */
function prepared(parser: Parser): Parser {
  return parser
    .exitOverride()
    .configureOutput({ outputError: () => undefined })
    .helpCommand(false)
    .helpOption("-h, --help", "show help")
    .allowExcessArguments(false);
}

function positional({ name, summary, optional, joinable, choices }: Argument): Positional {
  const argument = new Positional(optional || joinable ? `[${name}]` : `<${name}>`, summary);
  return choices ? argument.choices(choices) : argument;
}

function parserOption({ flags, summary, choices, value }: Option): ParserOption {
  const option = new ParserOption(flags, summary);
  if (choices) option.choices(choices);
  if (value) option.argParser((text) => integer(text, value));
  return option;
}

function integer(text: string, { min, max }: { min: number; max: number }): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new InvalidArgumentError(`It has to be a whole number from ${min} to ${max}.`);
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
