import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Figure, limited, median } from "./figure.ts";
import { type BenchHome, program, withHome } from "./home.ts";

const rounds = 7;
/** The last line of the banner: what comes after it is the prompt. */
const banner = "Ctrl-C twice ends";
const never = { command: "sleep", args: ["600"] };

/** How long it takes from the command to a prompt that takes keys, in a terminal of `script`'s. */
export async function interactive(): Promise<Figure[]> {
  const none = await withHome({}, startTime);
  const mcpServers = Object.fromEntries(["a", "b", "c", "d", "e"].map((name) => [name, never]));
  const five = await withHome({ mcpServers }, startTime);
  return [
    limited("`orchestrator interactive` to its first prompt", none, 1500, "ms"),
    limited("the same with five MCP servers that never answer", five, 1500, "ms"),
  ];
}

/** Milliseconds; the first start fills caches and does not count. */
async function startTime({ dir, env }: BenchHome): Promise<number> {
  const repo = join(dir, "repo");
  mkdirSync(join(repo, ".git"), { recursive: true });
  writeFileSync(join(repo, ".git", "HEAD"), "ref: refs/heads/main\n");
  const times: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const ms = await firstPrompt(repo, { ...env, TERM: "xterm-256color", ANTHROPIC_API_KEY: "none" });
    if (round > 0) times.push(ms);
  }
  return median(times);
}

function firstPrompt(cwd: string, env: Record<string, string>): Promise<number> {
  const began = performance.now();
  const command = `stty cols 140 rows 50; exec "${process.execPath}" "${program}" interactive`;
  const child = spawn("script", ["-qfec", command, "/dev/null"], { cwd, env, stdio: ["pipe", "pipe", "inherit"] });
  let said = "";
  let ms: number | undefined;
  child.stdout.on("data", (data) => {
    said += String(data);
    if (ms !== undefined || !said.includes(banner)) return;
    ms = performance.now() - began;
    child.kill("SIGKILL");
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", () => (ms === undefined ? reject(new Error(`it ended before its prompt: ${said}`)) : resolve(ms)));
  });
}
