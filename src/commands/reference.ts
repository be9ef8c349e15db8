import { type ExitCode, exitCodes } from "../domain/errors.ts";
import type { Command, Option } from "./command.ts";

/** What the reference is written from. */
export interface Table {
  commands: readonly Command[];
  globalOptions: readonly Option[];
  jsonOption: Option;
}

const exitMeanings: Record<ExitCode, string> = {
  ok: "done",
  failed: "failed; `run`: the ticket failed; `doctor`: something has to be mended",
  usage: "the command line is wrong",
  notFound: "there is no such plan, ticket, phase, file or program",
  conflict: "refused as things are: a daemon runs already, the ticket is in another state",
  unsafe: "refused because work or safety is at stake",
  limit: "a limit is reached",
  needsAttention: "a ticket needs a person",
  invalid: "configuration, plan or workflow is invalid",
  bug: "a bug of orchestrator; the stack is on stderr",
  tryLater: "not now; the same command may work later",
  interrupted: "stopped by SIGINT (Ctrl-C)",
  terminated: "stopped by SIGTERM",
};

const environment: Record<string, string> = {
  ORCHESTRATOR_HOME: "the home folder; `~/.orchestrator` when it is not set",
  ORCHESTRATOR_LOG_LEVEL: "how much the log says: `debug`, `info` (default), `warn`, `error`",
  NO_COLOR: "no colours, when it is not empty",
  FORCE_COLOR: "colours even where nobody looks; `0` for none",
  TERM: "`dumb` for no colours",
  USER: "who asked, in holds and in the journal",
};

/** The reference of the command line as Markdown. */
export function commandReference({ commands, globalOptions, jsonOption }: Table): string {
  const shown = commands.filter((command) => !command.hidden);
  const lines = [
    "# Command line",
    "",
    "<!-- Made from src/commands/index.ts by its test; `vitest -u` renews it. -->",
    "",
    "Results go to stdout, everything else to stderr. A ticket is named by `<planId> <ticketId>`, by `<planId>/<ticketId>`, or by its id alone when only one plan has it.",
    "",
    "## Options of every command",
    "",
    ...optionLines([...globalOptions, { flags: "-h, --help", summary: "show help" }]),
    "",
    "## Commands",
    "",
    "| Command | |",
    "|---|---|",
    ...shown.map(({ name, summary }) => `| [\`${name}\`](#${name.replaceAll(" ", "-")}) | ${summary} |`),
    "",
    ...shown.flatMap((command) => section(command, jsonOption)),
    "## JSON",
    "",
    'With `--json`, `status` and `sessions` print the shapes named there; every other command prints `{"apiVersion": "1", "data": …}`. An error is `{"apiVersion": "1", "error": {"code", "message", "hint"}}` on stdout. Fields may be added within an apiVersion, none change or go.',
    "",
    "## Exit codes",
    "",
    "| Code | Name | Meaning |",
    "|---|---|---|",
    ...(Object.keys(exitCodes) as ExitCode[]).map((name) => `| ${exitCodes[name]} | ${name} | ${exitMeanings[name]} |`),
    "",
    "## Environment",
    "",
    "| Variable | Meaning |",
    "|---|---|",
    ...Object.entries(environment).map(([name, meaning]) => `| \`${name}\` | ${meaning} |`),
  ];
  return `${lines.join("\n")}\n`;
}

function section(
  { name, summary, arguments: args = [], options = [], json, details, examples = [] }: Command,
  jsonOption: Option,
): string[] {
  const usage = ["orchestrator", name, ...args.map((arg) => (arg.optional ? `[${arg.name}]` : `<${arg.name}>`))].join(" ");
  const all = [...options, ...(json ? [jsonOption] : [])];
  const paragraph = (lines: string[]) => (lines.length === 0 ? [] : [...lines, ""]);
  return [
    `### ${name}`,
    "",
    `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`,
    "",
    "```",
    `${usage}${all.length > 0 ? " [options]" : ""}`,
    "```",
    "",
    ...paragraph(args.map((arg) => `- \`${arg.name}\`: ${arg.summary}`)),
    ...paragraph(optionLines(all)),
    ...paragraph(details === undefined ? [] : [details]),
    ...paragraph(examples.length === 0 ? [] : ["```sh", ...examples, "```"]),
  ];
}

function optionLines(options: readonly Option[]): string[] {
  return options.map(({ flags, summary, value }) => `- \`${flags}\`: ${summary}${value ? ` (${value.min} to ${value.max})` : ""}`);
}
