import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { inject } from "vitest";
import { stringify } from "yaml";
import type { Ticket } from "../domain/ticket.ts";
import type { PhaseContext } from "../phases/phase.ts";
import { tempDir } from "./temp.ts";

/** A complete world for one test: a home, a user's HOME and a repository, all gone with the test. */
export interface TestHome {
  dir: string;
  /** $ORCHESTRATOR_HOME. */
  home: string;
  repo: string;
  /** A built environment: nothing of the machine's own user is in it. */
  env: Record<string, string>;
  git(...args: string[]): string;
  writePlan(plan: Record<string, unknown> & { id: string }, tickets: (Record<string, unknown> & { ticketId: string })[]): void;
  ticket(planId: string, ticketId: string): Ticket;
  plan(planId: string): Record<string, unknown>;
  writeWorkflow(name: string, text: string): void;
  writeScript(name: string, text: string): void;
}

/** Makes one. `config` is merged over a small configuration that polls often; `repoPath` may hold spaces and the like. */
export function testHome(options: { config?: Record<string, unknown>; repoPath?: string; files?: Record<string, string> } = {}): TestHome {
  const dir = tempDir("orch-home-");
  const home = join(dir, "home");
  const userHome = join(dir, "user");
  const repo = join(dir, options.repoPath ?? "repo");
  for (const path of [home, userHome, repo]) mkdirSync(path, { recursive: true, mode: 0o700 });
  const gitConfig = join(userHome, ".gitconfig");
  writeFileSync(gitConfig, "[user]\n\tname = Test User\n\temail = user@example.test\n[init]\n\tdefaultBranch = main\n");
  const env: Record<string, string> = {
    PATH: process.env.PATH ?? "",
    HOME: userHome,
    ORCHESTRATOR_HOME: home,
    GIT_CONFIG_GLOBAL: gitConfig,
    LANG: "C.UTF-8",
    NO_COLOR: "1",
    ...compileCache(),
  };
  const git = (...args: string[]) => execFileSync("git", args, { cwd: repo, env, encoding: "utf8" }).trimEnd();
  git("init", "-q");
  write(repo, options.files ?? { "README.md": "# A project\n" });
  git("add", "-A");
  git("commit", "-qm", "first commit");
  const config = {
    defaultAgent: "none",
    agents: { none: { command: "false" } },
    pollInterval: 0.2,
    retryBackoffSeconds: 0,
    ...options.config,
  };
  writeFileSync(join(home, "config.yaml"), stringify(config), { mode: 0o600 });
  const planDir = (planId: string) => join(home, "state", "plans", planId);

  return {
    dir,
    home,
    repo,
    env,
    git,
    writePlan(plan, tickets) {
      const draft = join(home, "state", `.draft-${plan.id}`);
      const entries = tickets.map(({ ticketId, order, blockedBy }, i) => ({ ticketId, order: order ?? i + 1, blockedBy: blockedBy ?? [] }));
      const file = {
        name: plan.id,
        createdAt: "2026-01-01T00:00:00.000Z",
        createdBy: "test",
        repo,
        workflow: "local",
        agent: null,
        worktreeRoot: join(dir, "worktrees", plan.id),
        status: "active",
        tickets: entries,
        ...plan,
      };
      const files = tickets.map(({ order: _order, blockedBy: _blockedBy, ...ticket }) => {
        const text = {
          planId: plan.id,
          title: ticket.ticketId,
          description: "",
          acceptanceCriteria: [],
          linearUrl: null,
          repo: null,
          status: "queued",
          ...ticket,
        };
        return [`tickets/${ticket.ticketId}.json`, JSON.stringify(text, null, 2)];
      });
      write(draft, { "plan.json": JSON.stringify(file, null, 2), ...Object.fromEntries(files) });
      mkdirSync(dirname(planDir(plan.id)), { recursive: true });
      renameSync(draft, planDir(plan.id));
    },
    ticket: (planId, ticketId) => JSON.parse(readPublic(join(planDir(planId), "tickets", `${ticketId}.json`))) as Ticket,
    plan: (planId) => JSON.parse(readPublic(join(planDir(planId), "plan.json"))) as Record<string, unknown>,
    writeWorkflow: (name, text) => write(join(home, "workflows"), { [name]: text }),
    writeScript: (name, text) => write(join(home, "scripts"), { [name]: text }),
  };
}

/** The variable with which Node starts the built program, as its launcher would, from what it made of it the first time. */
export function compileCache(): Record<string, string> {
  return { NODE_COMPILE_CACHE: join(inject("builtProgram"), "compile-cache") };
}

/** The programs that a runner starts beside agents, built. */
export function builtPrograms(): PhaseContext["self"] {
  const dist = join(inject("builtProgram"), "dist");
  return { node: process.execPath, program: join(dist, "cli.js"), checksRunner: join(dist, "phases", "checks-runner.js") };
}

/** A public file is missing for the instant in which its successor takes its place. */
function readPublic(file: string): string {
  for (let attempt = 0; ; attempt++) {
    try {
      return readFileSync(file, "utf8");
    } catch (error) {
      if (attempt === 1000) throw error;
    }
  }
}

function write(dir: string, files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    if (!existsSync(join(dir, path))) writeFileSync(join(dir, path), text);
  }
}
