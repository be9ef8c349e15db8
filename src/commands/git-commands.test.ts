import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { commitFiles, makeRepo, userGit } from "../git/repo-fixture.ts";
import { type Home, makeHome } from "./cli-fixture.ts";

const author = {
  GIT_AUTHOR_NAME: "Ada",
  GIT_AUTHOR_EMAIL: "ada@example.org",
  GIT_COMMITTER_NAME: "Ada",
  GIT_COMMITTER_EMAIL: "ada@example.org",
};

function homeWithRepo(): { home: Home; repo: string } {
  Object.assign(process.env, author);
  const home = makeHome();
  const repo = makeRepo(join(dirname(home.dir), "repo"));
  home.write("state/plans/auth/plan.json", { id: "auth", repo, workflow: "flow", tickets: [{ ticketId: "T-1" }] });
  home.write("state/plans/auth/tickets/T-1.json", { planId: "auth", ticketId: "T-1", status: "queued", branch: "work" });
  return { home, repo };
}

it("P4 what a removed worktree held comes back with restore", async () => {
  const { home, repo } = homeWithRepo();
  const path = join(home.dir, "worktrees", "auth", "T-1");
  const where = ["--repo", repo, "--branch", "work", "--path", path];
  expect(await home.run("worktree", "ensure", ...where)).toEqual({ code: 0, stdout: `${path}\n`, stderr: "" });
  writeFileSync(join(path, "new.txt"), "not committed\n");
  const removed = await home.runWith({ ORCH_PLAN: "auth", ORCH_TICKET: "T-1" }, "worktree", "remove", ...where);
  expect(removed).toMatchObject({ code: 0, stdout: expect.stringContaining("saved as refs/orchestrator/recovery/auth/T-1/") });
  expect(existsSync(path)).toBe(false);
  const list = JSON.parse((await home.run("restore", "auth", "--list", "--json")).stdout);
  expect(list.data).toMatchObject([{ planId: "auth", ticketId: "T-1", repo }]);
  expect((await home.run("restore", "auth", "T-1")).code).toBe(0);
  expect(readFileSync(join(path, "new.txt"), "utf8")).toBe("not committed\n");
  const copy = join(home.dir, "copy");
  expect((await home.run("restore", "auth", "T-1", "--to", copy)).code).toBe(0);
  expect(readFileSync(join(copy, "new.txt"), "utf8")).toBe("not committed\n");
});

it("land fast-forwards the checkout, and ends with 5 when it may not", async () => {
  const { home, repo } = homeWithRepo();
  expect(await home.run("land", "--repo", repo)).toMatchObject({ code: 5, stderr: expect.stringContaining("nothing has been merged") });
  userGit(repo, "switch", "--quiet", "--create", "orchestrator/main");
  const merged = commitFiles(repo, { "b.txt": "b\n" }, "merged work");
  userGit(repo, "switch", "--quiet", "main");
  writeFileSync(join(repo, "a.txt"), "changed by hand\n");
  expect(await home.run("land", "--repo", repo)).toMatchObject({ code: 5, stderr: expect.stringContaining("uncommitted changes") });
  userGit(repo, "checkout", "--quiet", "a.txt");
  expect((await home.run("land", "--repo", repo)).code).toBe(0);
  expect(userGit(repo, "rev-parse", "HEAD")).toBe(merged);
});

it("resume-session opens a conversation with the agent that held it, not with another one of its provider", async () => {
  const { home, repo } = homeWithRepo();
  const id = (n: number) => `00000000-0000-4000-8000-00000000000${n}`;
  const fake = home.write("bin/claude", '#!/bin/sh\necho "$CLAUDE_CONFIG_DIR $*"\n');
  chmodSync(fake, 0o755);
  const agents = ["one", "two", "three"].map((name) => `  ${name}: { command: ${fake}, env: { CLAUDE_CONFIG_DIR: /of-${name} } }\n`);
  home.write("config.yaml", `defaultAgent: one\nagents:\n${agents.join("")}`);
  const run = { phase: "work", startedAt: "2026-01-01T00:00:00.000Z" };
  const phaseHistory = [
    { ...run, runId: "0001-work", status: "success", agent: "two", session: { id: id(1), provider: "claude" } },
    { ...run, runId: "0002-work", status: "interrupted", session: { id: id(2), provider: "claude" } },
  ];
  const ticket = { planId: "auth", ticketId: "T-1", status: "complete", worktree: repo, branch: "main", phaseHistory };
  home.write("state/plans/auth/tickets/T-1.json", ticket);
  home.write("run/auth/T-1/0002-work/spec.json", { schema: 1, data: { agent: "three" } });
  expect((await home.run("resume-session", "T-1", id(1))).stdout).toContain(`/of-two --resume ${id(1)}`);
  expect((await home.run("resume-session", "T-1", id(2))).stdout).toContain(`/of-three --resume ${id(2)}`);
});

it("sessions lists every vendor's, and resume-session opens the one that is meant", async () => {
  const { home, repo } = homeWithRepo();
  const id = (n: number) => `00000000-0000-4000-8000-00000000000${n}`;
  const entry = (phase: string, provider: string, n: number) => ({
    phase,
    status: "success",
    startedAt: `2026-01-0${n}T00:00:00.000Z`,
    completedAt: `2026-01-0${n}T01:00:00.000Z`,
    session: { id: id(n), provider },
  });
  const fake = home.write("bin/claude", '#!/bin/sh\necho "$PWD $*"\nexit 9\n');
  home.write("config.yaml", `defaultAgent: claude\nagents:\n  claude: { command: ${fake} }\n`);
  const phaseHistory = [entry("implement", "claude", 1), entry("review", "codex", 2), entry("fix", "claude", 3)];
  const ticket = { planId: "auth", ticketId: "T-1", status: "complete", worktree: repo, branch: "main", phaseHistory };
  home.write("state/plans/auth/tickets/T-1.json", ticket);
  chmodSync(fake, 0o755);
  const listed = JSON.parse((await home.run("sessions", "auth", "T-1", "--json")).stdout);
  expect(listed.map((row: { session: object }) => row.session)).toEqual(phaseHistory.map(({ session }) => session));
  expect((await home.run("sessions", "T-1", "--phase", "fix")).stdout).toBe(
    `1.  fix  success  2026-01-03T00:00:00.000Z  claude:${id(3)}\n`,
  );
  expect(await home.run("resume-session", "T-1")).toMatchObject({ code: 9, stdout: expect.stringContaining(`${repo} --resume ${id(3)}`) });
  expect((await home.run("resume-session", "T-1", "--phase", "implement")).stdout).toContain(id(1));
  expect((await home.run("resume-session", "T-1", id(1))).stdout).toContain(id(1));
  expect((await home.run("resume-session", "T-1", "x; rm")).code).toBe(2);
  expect((await home.run("resume-session", "T-1", "unknown")).code).toBe(3);
});
