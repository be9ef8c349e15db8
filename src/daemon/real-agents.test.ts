import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, it, onTestFinished } from "vitest";
import { adapterFor } from "../agents/adapters.ts";
import type { Session } from "../domain/session.ts";
import { ledgerFile } from "../state/layout.ts";
import { readLedger } from "../state/ledger.ts";
import { runCli } from "../testing/daemon.ts";
import { testHome } from "../testing/home.ts";
import { agentEnvironment } from "../testing/model-server/cli-home.ts";
import { type Cli, scenario } from "../testing/model-server/script.ts";
import { startModelServer } from "../testing/model-server/server.ts";
import { testRunner } from "../testing/runner.ts";
import { until } from "../testing/until.ts";

const verdict = (value: object) => `Read it all.\n\n\`\`\`json\n${JSON.stringify(value)}\n\`\`\``;

/** What the model does in each phase of the local workflow: A leaves its work uncommitted, B commits its own; A's review fails once. */
const script = () =>
  scenario([
    {
      when: /^# (\w+): [\s\S]*off by one/m,
      turns: [{ text: "Repairing.", actions: [{ bash: "printf 'fixed\\n' >> A.txt" }] }, { text: "Repaired the count." }],
    },
    { when: /^# A: /m, turns: [{ actions: [{ write: { path: "A.txt", content: "first\n" } }] }, { text: "Wrote A.txt." }] },
    {
      when: /^# B: /m,
      turns: [
        { actions: [{ bash: "cat A.txt > B.txt && git add B.txt && git commit -qm 'feat: B by the agent'" }] },
        { text: "Committed B.txt." },
      ],
    },
    {
      when: /^# Review of A/m,
      times: 1,
      turns: [{ text: verdict({ verdict: "fail", summary: "Wrong count.", findings: [{ severity: "blocking", message: "off by one" }] }) }],
    },
    {
      when: /^# Review of/m,
      turns: [{ actions: [{ bash: "git status --short" }] }, { text: verdict({ verdict: "pass", summary: "Good.", findings: [] }) }],
    },
    { when: /^What did you do/m, turns: [{ text: "I remember it well." }] },
    { when: /[Ss]implif/, turns: [{ text: "Nothing to simplify." }] },
  ]);

describe.each<Cli>(["claude", "codex", "pi"])("with the real %s", (cli) => {
  it("P1 P3 P6 P8 takes a plan of two tickets through review and repair to the integration branch", { timeout: 120_000 }, async () => {
    const server = await startModelServer(script());
    onTestFinished(() => server.close());
    const defaultArgs = { claude: ["--dangerously-skip-permissions"], codex: [], pi: [] };
    const home = testHome({
      config: {
        defaultAgent: cli,
        agents: {
          [cli]: {
            command: cli,
            defaultArgs: defaultArgs[cli],
            env: cli === "codex" ? { SCRIPTED_API_KEY: "$" + "{SCRIPTED_API_KEY}" } : {},
          },
        },
      },
    });
    Object.assign(home.env, agentEnvironment(cli, server, join(home.dir, "agent")), { GIT_CONFIG_GLOBAL: home.env.GIT_CONFIG_GLOBAL });
    writeFileSync(join(home.repo, "README.md"), "# Edited by hand, not committed\n");
    writeFileSync(join(home.repo, "notes.txt"), "untracked\n");
    const before = checkoutDigest(home.repo);
    home.writePlan({ id: "p", checks: { readme: "test -f README.md" } }, [{ ticketId: "A" }, { ticketId: "B", blockedBy: ["A"] }]);
    const runner = await testRunner(home);
    await runner.settle("p", { A: "complete", B: "complete" }, 110_000);

    expect(home.git("show", "orchestrator/main:A.txt")).toBe("first\nfixed");
    expect(home.git("show", "orchestrator/main:B.txt")).toBe("first\nfixed");
    // codex may edit the worktree but not its repository, so its commit fails and the runner makes one.
    expect(home.git("log", "--format=%s", "orchestrator/main")).toContain(cli === "codex" ? "feat: B" : "feat: B by the agent");
    expect(checkoutDigest(home.repo)).toBe(before);
    const history = home.ticket("p", "A").phaseHistory.filter(({ agent }) => agent === cli);
    expect(history.map(({ phase, status }) => `${phase} ${status}`)).toEqual([
      "implement success",
      "self_review failure",
      "implement success",
      "self_review success",
      "simplify success",
    ]);
    for (const entry of history) expect(entry.session?.provider).toBe(cli);
    for (const entry of history) expect(entry.usage?.outputTokens).toBeGreaterThan(0);
    // The repair goes on in the conversation of the work, each review in one of its own.
    const [work, review, repair, second, simpler] = history.map(({ session }) => session?.id);
    expect(repair).toBe(work);
    expect(new Set([work, review, second, simpler]).size).toBe(4);
    // Each answer of the scripted model says 100 tokens of input and 10 of output.
    const { entries } = readLedger(ledgerFile(join(home.home, "state"), "p"));
    const answered = server.requests.filter(({ conversation }) => conversation !== undefined).length;
    expect(entries.reduce((sum, { usage }) => sum + (usage?.inputTokens ?? 0) + (usage?.outputTokens ?? 0), 0)).toBe(110 * answered);
    // No program is left while the runner is open, and nothing of it once it is closed.
    expect(processesOf(home.dir).filter((pid) => !isShim(pid))).toEqual([]);
    await runner.close();
    await until(() => processesOf(home.dir).length === 0);

    const listed = JSON.parse((await runCli(home, "sessions", "p", "A", "--json")).stdout) as { phase: string; session: Session }[];
    expect(listed.map(({ phase }) => phase)).toEqual(["implement", "self_review", "implement", "self_review", "simplify"]);
    const { session } = listed[2] ?? {};
    if (!session) throw new Error("no session");
    // The worktree is gone with the finished ticket; where it was, the conversation goes on.
    const cwd = join(home.dir, "worktrees", "p", "A");
    home.git("worktree", "add", "--quiet", "--detach", cwd, "orchestrator/main");
    const { argv, env, stdinPrefix } = adapterFor(cli, cli).command({
      command: cli,
      cwd,
      session: { kind: "resume", session },
      readOnly: false,
      defaultArgs: defaultArgs[cli],
      runDir: home.dir,
      isRoot: true,
    });
    const [program = "", ...args] = argv;
    await execa(program, args, {
      cwd,
      env: { ...home.env, ...env },
      extendEnv: false,
      input: `${stdinPrefix}What did you do?`,
      timeout: 60_000,
    });
    const last = server.requests.findLast(({ conversation }) => conversation)?.conversation;
    expect(last).toMatchObject({ prompt: expect.stringContaining("What did you do?"), promptIndex: 2 });
  });
});

/** Everything of a checkout that P3 protects: files, index, HEAD, stash, configuration. */
function checkoutDigest(repo: string): string {
  const hash = createHash("sha256");
  const add = (path: string) => hash.update(path).update(readFileSync(path));
  const files = readdirSync(repo, { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && !entry.parentPath.includes(".git"),
  );
  for (const file of files.sort((a, b) => a.name.localeCompare(b.name))) add(join(file.parentPath, file.name));
  for (const name of ["HEAD", "index", "config"]) add(join(repo, ".git", name));
  return hash.update(execFileSync("git", ["stash", "list"], { cwd: repo })).digest("hex");
}

/** Processes that mention a folder in their command line or environment. */
function isShim(pid: string): boolean {
  return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("/executors/shim.");
}

function processesOf(dir: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      try {
        return ["cmdline", "environ"].some((file) => readFileSync(`/proc/${pid}/${file}`, "utf8").includes(dir));
      } catch {
        return false;
      }
    });
}
