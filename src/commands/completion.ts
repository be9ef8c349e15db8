// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are shell expansions
import type { Context } from "../app.ts";
import type { Command, CommandModule, Option } from "./command.ts";

/** A command as a shell needs to know it. */
interface Completable {
  name: string;
  summary: string;
  options: Option[];
  choices: readonly string[];
}

/** What completion is made from: the table itself, handed in because the table is what names this module. */
export interface Table {
  commands: readonly Command[];
  groups: Readonly<Record<string, string>>;
  globalOptions: readonly Option[];
  jsonOption: Option;
}

/** The command that prints a completion script, made from the same table as the parser. */
export function completion(table: Table): CommandModule {
  return {
    async run(context: Context, [shell]: string[]) {
      const scripts: Record<string, (all: Completable[], groups: Table["groups"]) => string[]> = { bash, zsh, fish };
      const all = table.commands.filter((command) => !command.hidden).map((command) => completable(command, table));
      context.stdout.write(`${(scripts[shell ?? ""]?.(all, table.groups) ?? []).join("\n")}\n`);
      return "ok";
    },
  };
}

function completable({ name, summary, options = [], json, arguments: args = [] }: Command, table: Table): Completable {
  return {
    name,
    summary,
    options: [...options, ...(json ? [table.jsonOption] : []), ...table.globalOptions],
    choices: args[0]?.choices ?? [],
  };
}

function topWords(all: readonly Completable[]): string[] {
  return [...new Set(all.map(({ name }) => name.split(" ")[0] ?? ""))];
}

function secondWords(all: readonly Completable[], group: string): string[] {
  return all.flatMap(({ name }) => (name.startsWith(`${group} `) ? [name.slice(group.length + 1)] : []));
}

function flagWords({ flags }: Option): string[] {
  return flags.split(/,? +/).filter((word) => word.startsWith("-"));
}

function visibleGroups(all: readonly Completable[], groups: Table["groups"]): string[] {
  return Object.keys(groups).filter((group) => secondWords(all, group).length > 0);
}

function bash(all: Completable[], groups: Table["groups"]): string[] {
  const top = topWords(all).join(" ");
  const cases = all.map(
    ({ name, options, choices }) => `    "${name}") words="${[...options.flatMap(flagWords), ...choices].join(" ")}" ;;`,
  );
  const inGroups = visibleGroups(all, groups).map((group) => `    "${group}") words="${secondWords(all, group).join(" ")}" ;;`);
  return [
    "# bash completion for orchestrator: source <(orchestrator completion bash)",
    "_orchestrator() {",
    '  local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" words="" name="" i',
    '  case "$previous" in',
    '    -C|--config|-d|--dir|--repo|--to) COMPREPLY=($(compgen -f -- "$current")); return ;;',
    "  esac",
    "  for ((i = 1; i < COMP_CWORD; i++)); do",
    '    [[ "${COMP_WORDS[i]}" == -* ]] && continue',
    '    name="${name:+$name }${COMP_WORDS[i]}"',
    `    case "$name" in ${visibleGroups(all, groups).join("|")}) continue ;; *) break ;; esac`,
    "  done",
    '  case "$name" in',
    `    "") words="${top} --help --version" ;;`,
    ...cases,
    ...inGroups,
    "  esac",
    '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
    "}",
    "complete -F _orchestrator orchestrator",
  ];
}

function zsh(all: Completable[], groups: Table["groups"]): string[] {
  const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const described = (words: { word: string; summary: string }[]) =>
    words.map(({ word, summary }) => quote(`${word.replaceAll(":", "\\:")}:${summary}`)).join(" ");
  const top = topWords(all).map((word) => ({ word, summary: groups[word] ?? all.find(({ name }) => name === word)?.summary ?? "" }));
  const cases = all.map(({ name, options, choices }) => {
    const words = [
      ...choices.map((word) => ({ word, summary: "" })),
      ...options.flatMap((option) => flagWords(option).map((word) => ({ word, summary: option.summary }))),
    ];
    return `    ${quote(name)}) entries=(${described(words)}) ;;`;
  });
  const inGroups = visibleGroups(all, groups).map((group) => {
    const words = secondWords(all, group).map((word) => ({
      word,
      summary: all.find(({ name }) => name === `${group} ${word}`)?.summary ?? "",
    }));
    return `    ${quote(group)}) entries=(${described(words)}) ;;`;
  });
  return [
    "#compdef orchestrator",
    "# zsh completion for orchestrator: source <(orchestrator completion zsh)",
    "_orchestrator() {",
    "  local -a entries",
    '  local name="" i',
    "  for ((i = 2; i < CURRENT; i++)); do",
    '    [[ "${words[i]}" == -* ]] && continue',
    '    name="${name:+$name }${words[i]}"',
    `    case "$name" in ${visibleGroups(all, groups).join("|")}) continue ;; *) break ;; esac`,
    "  done",
    '  case "$name" in',
    `    '') entries=(${described(top)}) ;;`,
    ...cases,
    ...inGroups,
    "  esac",
    "  _describe 'orchestrator' entries",
    "  _files",
    "}",
    "compdef _orchestrator orchestrator",
  ];
}

function fish(all: Completable[], groups: Table["groups"]): string[] {
  const quote = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const lines = ["# fish completion for orchestrator: orchestrator completion fish | source", "complete -c orchestrator -f"];
  for (const word of topWords(all)) {
    const summary = groups[word] ?? all.find(({ name }) => name === word)?.summary ?? "";
    lines.push(`complete -c orchestrator -n __fish_use_subcommand -a ${quote(word)} -d ${quote(summary)}`);
  }
  for (const { name, summary, options, choices } of all) {
    const [first = "", second] = name.split(" ");
    const seen = `__fish_seen_subcommand_from ${first}`;
    const when = second === undefined ? seen : `${seen}; and __fish_seen_subcommand_from ${second}`;
    if (second !== undefined) lines.push(`complete -c orchestrator -n ${quote(seen)} -a ${quote(second)} -d ${quote(summary)}`);
    for (const choice of choices) lines.push(`complete -c orchestrator -n ${quote(when)} -a ${quote(choice)}`);
    for (const option of options) {
      const flags = flagWords(option).map((flag) => (flag.startsWith("--") ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`));
      const value = option.flags.includes("<") ? ` -r${option.flags.includes("path") ? "F" : ""}` : "";
      lines.push(`complete -c orchestrator -n ${quote(when)} ${flags.join(" ")}${value} -d ${quote(option.summary)}`);
    }
  }
  return lines;
}
