import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { execa } from "execa";
import type { RunSpec } from "../src/domain/run.ts";
import { epochMs } from "../src/domain/time.ts";
import { agentEnvironment } from "../src/testing/model-server/cli-home.ts";
import { startModelServer } from "../src/testing/model-server/server.ts";
import { type Figure, format, limited, median } from "./figure.ts";
import { type BenchHome, ticketId, withHome } from "./home.ts";

const rounds = 10;
export const agents = {
  claude: { command: "claude", defaultArgs: ["--dangerously-skip-permissions"] },
  codex: { command: "codex", env: { SCRIPTED_API_KEY: `$\{SCRIPTED_API_KEY}` } },
};

/** About the least that a real model takes for a turn. */
const turnMs = 2000;

/**
 * What the runner adds to a real CLI: from the start of one agent phase to the start of the next. Once with a model that answers
 * at once, which shows the time itself, and once with one that takes as long as real ones, of which it must be a small part.
 */
export async function agentOverhead(): Promise<Figure[]> {
  let answerMs = 0;
  const server = await startModelServer(async () => {
    await delay(answerMs);
    return { text: "Done." };
  });
  const figures: Figure[] = [];
  try {
    for (const cli of ["claude", "codex"] as const) {
      answerMs = 0;
      figures.push(await measure(cli, server, "whose model answers at once", () => 150));
      answerMs = turnMs;
      figures.push(await measure(cli, server, `whose model takes ${turnMs / 1000} s`, (bare) => Math.min(150, bare / 10)));
    }
    return figures;
  } finally {
    await server.close();
  }
}

async function measure(
  cli: keyof typeof agents,
  server: { url: string },
  what: string,
  limit: (bareMs: number) => number,
): Promise<Figure> {
  return withHome({ defaultAgent: cli, agents }, async (home) => {
    makeRepo(home);
    const env = agentEnvironment(cli, server, join(home.dir, "agent"));
    addWorkflow(home);
    home.addPlan("plan", { workflow: "ask", tickets: 1 });
    const daemon = await home.startDaemon([], env);
    await home.complete("plan");
    await daemon.stop();
    const { phaseHistory } = home.ticket("plan", ticketId(0));
    const starts = phaseHistory.map(({ startedAt }) => epochMs(startedAt));
    const phases = starts.slice(1, 1 + rounds).map((start, i) => start - (starts[i] ?? Number.NaN));
    const run = join(home.dir, "home", "run", "plan", ticketId(0), phaseHistory[0]?.runId ?? "");
    const bare: number[] = [];
    for (let round = 0; round < rounds; round++) bare.push(await timeAlone(run, env));
    const added = median(phases) - median(bare);
    const note = ` (${format(median(phases), "ms")} a phase, ${format(median(bare), "ms")} for ${cli} itself: ${format((100 * added) / median(bare), "%")})`;
    return limited(`What a phase adds to ${cli}, ${what}`, added, limit(median(bare)), "ms", note);
  });
}

/** Runs what a run of an agent ran once more, in a conversation of its own, with nobody around it. */
async function timeAlone(run: string, env: Record<string, string>): Promise<number> {
  const { argv, cwd } = JSON.parse(readFileSync(join(run, "spec.json"), "utf8")) as RunSpec;
  const [program = "", ...args] = argv.map((arg) => (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(arg) ? randomUUID() : arg));
  const input = readFileSync(join(run, "prompt.md"));
  const began = performance.now();
  await execa(program, args, { cwd, env, extendEnv: false, input });
  return performance.now() - began;
}

export function addWorkflow({ dir }: BenchHome): void {
  mkdirSync(join(dir, "home", "prompts"));
  writeFileSync(join(dir, "home", "prompts", "ask.md"), "Say that you are done.\n");
  const phases = Array.from({ length: rounds + 1 }, (_, i) => ({
    id: `p${i}`,
    type: "agent",
    promptTemplate: "ask.md",
    onSuccess: i < rounds ? `p${i + 1}` : "complete",
  }));
  const workflow = { name: "ask", phases: [...phases, { id: "complete", type: "terminal" }] };
  writeFileSync(join(dir, "home", "workflows", "ask.yaml"), JSON.stringify(workflow));
}

export function makeRepo({ dir, env }: BenchHome): void {
  const git = (...args: string[]) => execFileSync("git", args, { cwd: join(dir, "repo"), env, stdio: "ignore" });
  git("init", "--quiet", "--initial-branch=main");
  git("config", "user.name", "Ada");
  git("config", "user.email", "ada@example.org");
  writeFileSync(join(dir, "repo", "README.md"), "# Bench\n");
  git("add", "--all");
  git("commit", "--quiet", "-m", "first");
}
