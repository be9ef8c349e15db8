import { once } from "node:events";
import { createInterface } from "node:readline/promises";
import type { Context } from "../app.ts";
import type { Config } from "../domain/config.ts";
import { printable } from "../lib/printable.ts";
import type { Bench, Person } from "../planner/tool.ts";
import { userOf } from "./intents.ts";

/** What planning works on from a command line. `approved`: whoever typed it has said yes by that. */
export function benchOf(context: Context, config: Config, { approved }: { approved: boolean }): Bench {
  const { env, cwd } = context;
  const base = { config, env: { ...env }, cwd, by: userOf(context) };
  if (approved) return { ...base, approved };
  return process.stdin.isTTY && context.stdout.isTTY ? { ...base, person: personAt(context) } : base;
}

function personAt(context: Context): Person {
  // Ctrl-C and Ctrl-D answer nothing.
  const ask = async (question: string): Promise<string> => {
    const lines = createInterface({ input: process.stdin, output: process.stderr });
    const left = once(lines, "close").then(() => "");
    try {
      return (await Promise.race([lines.question(question).catch(() => ""), left])).trim();
    } finally {
      lines.close();
    }
  };
  return {
    async confirm(title, text) {
      context.stderr.write(`${printable(text)}\n\n`);
      return /^y(es)?$/i.test(await ask(`${printable(title)} [y/N] `));
    },
    async ask(question, choices) {
      const list = choices.map((choice, i) => `  ${i + 1}) ${printable(choice)}\n`).join("");
      const answer = await ask(`${printable(question)}\n${list}> `);
      return choices[Number(answer) - 1] ?? (answer === "" ? undefined : answer);
    },
  };
}
