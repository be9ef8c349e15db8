import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { type Figure, informing, limited } from "./figure.ts";
import { type BenchHome, ticketId, until, withHome } from "./home.ts";

/** A daemon starts 64 runs at once at most, so that two daemons have the agents together. */
const daemons = 2;
const agentsEach = 50;
/** How long an agent may be silent once it has spoken: far less than it takes to its first word, and than its tool. */
const silenceSeconds = 5;
const silentSeconds = 20;
const longestMs = 1_800_000;

/** 100 agents that start slowly and then run a long tool, while every core is busy: how many are ended as if they were dead. */
export async function slowAgents(): Promise<Figure[]> {
  const burners = cpus().map(() => spawn(process.execPath, ["-e", "for (;;);"], { stdio: "ignore" }));
  try {
    const began = performance.now();
    // Should one fail, the other is still to be cleared away.
    const homes = await Promise.allSettled(Array.from({ length: daemons }, () => withHome({}, work)));
    const seconds = (performance.now() - began) / 1000;
    const runs = homes.flatMap((home) => {
      if (home.status === "rejected") throw home.reason;
      return home.value;
    });
    const deaths = runs.filter(({ status }) => status !== "success");
    const longest = Math.max(...runs.map(({ startedAt, completedAt }) => (Date.parse(completedAt ?? "") - Date.parse(startedAt)) / 1000));
    const categories = [...new Set(deaths.map(({ status, category }) => category ?? status))].join(", ");
    const note = deaths.length === 0 ? ` of ${runs.length} runs` : ` of ${runs.length} runs (${categories})`;
    return [
      limited("Agents ended although they were at work", deaths.length, 0, "agents", note),
      informing("The longest run", longest, "s", ` (silent twice for ${silentSeconds} s, with ${silenceSeconds} s allowed)`),
      informing("All of them", seconds, "s"),
    ];
  } finally {
    for (const burner of burners) burner.kill("SIGKILL");
  }
}

/** Lets all agents of a home work at once, and gives the history of every ticket. */
async function work(home: BenchHome) {
  const { dir, env } = home;
  const command = join(dir, "claude");
  writeFileSync(command, program(), { mode: 0o700 });
  mkdirSync(join(dir, "home", "prompts"));
  writeFileSync(join(dir, "home", "prompts", "work.md"), "Work.\n");
  const settings = {
    defaultAgent: "claude",
    agents: { claude: { command } },
    pollInterval: 1,
    checkoutGuard: "off",
    agentIdleTimeoutSeconds: silenceSeconds,
    git: { name: "bench", email: "bench@localhost" },
  };
  writeFileSync(join(dir, "home", "config.yaml"), JSON.stringify(settings), { mode: 0o600 });
  const phases = [
    { id: "work", type: "agent", promptTemplate: "work.md", onSuccess: "complete" },
    { id: "complete", type: "terminal" },
  ];
  writeFileSync(join(dir, "home", "workflows", "slow.yaml"), JSON.stringify({ name: "slow", phases }));
  const git = (...args: string[]) => execFileSync("git", args, { cwd: join(dir, "repo"), env, stdio: "ignore" });
  git("init", "--quiet", "--initial-branch=main");
  writeFileSync(join(dir, "repo", "README.md"), "# A project\n");
  git("add", "--all");
  git("-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "--quiet", "-m", "first");
  home.addPlan("plan", { workflow: "slow", tickets: agentsEach });
  const daemon = await home.startDaemon(["--concurrency", String(agentsEach)]);
  const ids = Array.from({ length: agentsEach }, (_, i) => ticketId(i));
  await until(() => ids.every((id) => hasEnded(home, id)), longestMs);
  await daemon.stop();
  return ids.flatMap((id) => home.ticket("plan", id).phaseHistory);
}

function hasEnded(home: BenchHome, id: string): boolean {
  try {
    return ["complete", "failed", "needs_attention"].includes(home.ticket("plan", id).status);
  } catch (error) {
    // While it is being replaced, a file has no name for an instant.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

/** An agent that computes and waits before its first word, then has a tool at work for as long. */
function program(): string {
  const session = "11111111-2222-4333-8444-555555555555";
  const message = (id: string, content: object[]) => ({ id, role: "assistant", content });
  const use = { type: "tool_use", id: "call", name: "Bash", input: { command: "make" } };
  const result = { type: "tool_result", tool_use_id: "call", content: "built" };
  const usage = { input_tokens: 1, output_tokens: 1 };
  const print = (line: object) => `cat <<'EOF'\n${JSON.stringify({ session_id: session, ...line })}\nEOF\n`;
  return `#!/bin/bash
case "$*" in *--help*|*--version*) exit 0;; esac
cat > /dev/null
for ((i = 0; i < 200000; i++)); do :; done
sleep ${silentSeconds}
${print({ type: "system", subtype: "init", tools: ["Bash"] })}
${print({ type: "assistant", message: message("1", [use]) })}
sleep ${silentSeconds}
${print({ type: "user", message: { role: "user", content: [result] } })}
${print({ type: "result", subtype: "success", is_error: false, result: "done", num_turns: 2, total_cost_usd: 0, usage })}
`;
}
