import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
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

/** What the runner adds to a real CLI whose model answers at once: from the start of one agent phase to the start of the next. */
export async function agentOverhead(): Promise<Figure[]> {
  const server = await startModelServer(() => ({ text: "Done." }));
  try {
    return [...(await measure("claude", server)), ...(await measure("codex", server))];
  } finally {
    await server.close();
  }
}

async function measure(cli: keyof typeof agents, server: { url: string }): Promise<Figure[]> {
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
    return [limited(`What a phase adds to ${cli}`, added, Math.min(150, median(bare) / 10), "ms", note)];
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
