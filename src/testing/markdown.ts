/** What Markdown pages say in code: which calls of the program they name, and whether these exist. */
import { commands, globalOptions, jsonOption } from "../commands/index.ts";

const fence = /^ *(```|~~~).*\n[\s\S]*?^ *\1 *$/gm;

/** A page without its code blocks. */
export function prose(text: string): string {
  return text.replace(fence, "");
}

/** Everything on a page that is set as code, line by line. Prose that begins with our name is no command. */
export function codeLines(text: string): string[] {
  const blocks = text.match(fence) ?? [];
  const spans = prose(text).match(/`[^`\n]+`/g) ?? [];
  return [...blocks.flatMap((block) => block.split("\n").slice(1, -1)), ...spans.map((span) => span.slice(1, -1))];
}

/** The words of every call of orchestrator in a line of code, without what is quoted, commented or piped on. */
function calls(line: string): string[][] {
  const bare = line.replace(/'[^']*'|"[^"]*"/g, "TEXT").replace(/(^|\s)#.*$/, "");
  return [...bare.matchAll(/(?:^|[\s(/$`])orchestrator +([^|;&<>()`]+)/g)].map(([, words = ""]) => words.trim().split(/\s+/));
}

/** What is wrong with one call: the command or the option that does not exist. */
function callProblem(words: string[]): string | undefined {
  const [first = "", second = ""] = words.slice(words[0] === "-C" ? 2 : 0);
  // `<command>` or `…` stands for any command, and an option alone is the program's own.
  if (!/^[a-z]/.test(first)) return undefined;
  const command = commands.find(({ name }) => name === `${first} ${second}`) ?? commands.find(({ name }) => name === first);
  if (!command) return `there is no command "${first}"`;
  if (command.name === first && !command.arguments && /^[a-z]/.test(second)) return `there is no command "${first} ${second}"`;
  const known = [...(command.options ?? []), ...globalOptions, ...(command.json ? [jsonOption] : [])].flatMap(({ flags }) =>
    flags.split(/[ ,]+/).filter((flag) => flag.startsWith("-")),
  );
  const used = words.flatMap((word) => /^(--?[a-z][a-z-]*)(=|$)/i.exec(word)?.[1] ?? []);
  const wrong = used.find((flag) => !known.includes(flag) && flag !== "--help" && flag !== "-h");
  return wrong === undefined ? undefined : `"${command.name}" has no option ${wrong}`;
}

/** Calls on a page that name commands or options which do not exist. */
export function wrongCalls(page: string, text: string): string[] {
  return codeLines(text).flatMap((line) =>
    calls(line).flatMap((words) => {
      const problem = callProblem(words);
      return problem === undefined ? [] : [`${page}: ${problem} in: ${line.trim()}`];
    }),
  );
}
