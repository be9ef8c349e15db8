import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { inject } from "vitest";
import { createContext } from "../app.ts";
import { UserError } from "../domain/errors.ts";
import { compileCache } from "../testing/home.ts";
import { type Result, runHere } from "../testing/run-here.ts";
import { tempDir } from "../testing/temp.ts";
import type { CommandModule, Ending } from "./command.ts";

const cli = join(inject("builtProgram"), "dist", "cli.js");

/** A home folder of its own with the program in front of it. */
export interface Home {
  dir: string;
  env: NodeJS.ProcessEnv;
  /** argv for spawn(). */
  argv(...args: string[]): [string, string[]];
  /** Runs a command line to its end. */
  run(...args: string[]): Promise<Result>;
  /** Runs it with variables set as well. */
  runWith(env: Record<string, string>, ...args: string[]): Promise<Result>;
  /** Runs it in this process. */
  here(...args: string[]): Promise<Result>;
  hereWith(env: Record<string, string>, ...args: string[]): Promise<Result>;
  /** Writes a file below the home; JSON unless it is text. */
  write(path: string, content: unknown): string;
}

/** A home with a configuration and a workflow "flow" of two scripts, gone once the test has finished. */
export function makeHome(): Home {
  const dir = join(tempDir(), "home");
  const env = {
    HOME: dirname(dir),
    ORCHESTRATOR_HOME: dir,
    PATH: [dirname(process.execPath), "/usr/local/bin", "/usr/bin", "/bin"].join(delimiter),
    USER: "ada",
    GIT_CONFIG_GLOBAL: "/dev/null",
    ...compileCache(),
  };
  const argv = (...args: string[]): [string, string[]] => [process.execPath, [cli, ...args]];
  const runWith = (more: Record<string, string>, ...args: string[]) =>
    new Promise<Result>((resolve) => {
      const [file, list] = argv(...args);
      execFile(file, list, { env: { ...env, ...more }, cwd: dirname(dir), timeout: 25_000 }, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, stdout, stderr });
      });
    });
  const write = (path: string, content: unknown) => {
    const file = join(dir, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
    return file;
  };
  write("config.yaml", "defaultAgent: claude\nagents:\n  claude: { command: claude }\npollInterval: 0.2\n");
  write("workflows/flow.yaml", flow);
  const hereWith = (more: Record<string, string>, ...args: string[]) => runHere({ env: { ...env, ...more }, cwd: dirname(dir) }, ...args);
  return { dir, env, argv, run: (...args) => runWith({}, ...args), runWith, here: (...args) => hereWith({}, ...args), hereWith, write };
}

/** What a command called in this process came to. */
export interface Called {
  ending: Ending;
  stdout: string;
  stderr: string;
}

/** Calls what is behind a command, with what the parser would give it, in this process: for whatever is not about the command line. */
export async function call(
  home: Home,
  { run }: Pick<CommandModule, "run">,
  args: string[],
  options: Record<string, unknown> = {},
): Promise<Called> {
  const texts = { stdout: "", stderr: "" };
  const output = (name: "stdout" | "stderr") => ({ write: (text: string) => (texts[name] += text) });
  const { env } = home;
  const parts = { env, cwd: dirname(home.dir), version: "0", stdout: output("stdout"), stderr: output("stderr"), options: {} };
  try {
    return { ending: await run(createContext(parts), args, options), ...texts };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const hint = error.hint === undefined ? "" : `hint:  ${error.hint}\n`;
    return { ending: error.exit, stdout: texts.stdout, stderr: `${texts.stderr}error: ${error.message}\n${hint}` };
  }
}

const flow = `name: flow
description: two scripts
phases:
  - { id: one, type: script, command: run.sh, onSuccess: two, onFailure: escalate }
  - { id: two, type: script, command: run.sh, onSuccess: done, onFailure: escalate }
  - { id: done, type: terminal }
  - { id: escalate, type: terminal, notify: true }
`;

/** Writes the plan "auth": T-1, and T-2 that waits for it. */
export function writePlan(home: Home): void {
  const tickets = [
    { ticketId: "T-1", order: 1 },
    { ticketId: "T-2", order: 2, blockedBy: ["T-1"] },
  ];
  home.write("state/plans/auth/plan.json", {
    id: "auth",
    name: "Auth",
    repo: dirname(home.dir),
    workflow: "flow",
    status: "active",
    tickets,
  });
  for (const { ticketId } of tickets) {
    const title = ticketId === "T-1" ? "Add the login form" : "Remember who logged in";
    home.write(`state/plans/auth/tickets/${ticketId}.json`, { planId: "auth", ticketId, title, status: "queued", currentPhase: "one" });
  }
}
