import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkoutState, filesOf } from "../git/repo-fixture.ts";
import { runCli, startDaemon } from "../testing/daemon.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";
import { until } from "../testing/until.ts";

/** A home whose agent is a bash script that starts in its worktree, and whose user is in the middle of their work. */
function homeWithAgent(script: string, config: Record<string, unknown> = {}): TestHome {
  const home = testHome({ config: { defaultAgent: "fake", agents: { fake: { command: "AGENT" } }, ...config } });
  const command = join(home.dir, "fake-agent.sh");
  writeFileSync(command, `#!/bin/bash\ncat > /dev/null\n${script}\n`);
  chmodSync(command, 0o755);
  const file = join(home.home, "config.yaml");
  writeFileSync(file, readFileSync(file, "utf8").replace("AGENT", command));
  home.writeWorkflow(
    "work.yaml",
    `name: work
description: one agent
phases:
  - { id: implement, type: agent, promptTemplate: implement.md, maxRetries: 2, onSuccess: done, onFailure: escalate }
  - { id: done, type: terminal }
  - { id: escalate, type: terminal, notify: true }
`,
  );
  writeFileSync(join(home.repo, "README.md"), "# Put aside\n");
  home.git("stash", "push", "--quiet");
  writeFileSync(join(home.repo, "README.md"), "# Staged\n");
  home.git("add", "README.md");
  writeFileSync(join(home.repo, "README.md"), "# Changed by hand\n");
  writeFileSync(join(home.repo, "scratch.txt"), "untracked\n");
  writeFileSync(join(home.repo, ".git", "hooks", "pre-commit"), "#!/bin/sh\nexit 0\n", { mode: 0o755 });
  return home;
}

/** The user's checkout to the byte. HEAD's reflog and ORIG_HEAD tell what happened. */
function bytes(home: TestHome): Record<string, string> {
  const { ".git/logs/HEAD": _log, ".git/ORIG_HEAD": _orig, ...rest } = checkoutState(home.repo);
  return { ...rest, hooks: JSON.stringify(filesOf(join(home.repo, ".git", "hooks"))), main: home.git("rev-parse", "main") };
}

function journal(home: TestHome): { type: string; reason?: string }[] {
  const text = readFileSync(join(home.home, "state", "plans", "p", "journal.jsonl"), "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

describe("P3 the user's checkout around agent runs", () => {
  it("is the same to the byte after a whole workflow, and nobody is accused", async () => {
    const home = homeWithAgent(`[ "$ORCH_PHASE" = implement ] && echo work > work.txt; git stash list > /dev/null; git status > /dev/null
[ "$ORCH_PHASE" = self_review ] && echo '{"verdict":"pass","summary":"good","findings":[]}' || echo done`);
    const before = { ...bytes(home), log: readFileSync(join(home.repo, ".git", "logs", "HEAD"), "utf8") };
    home.writePlan({ id: "p" }, [{ ticketId: "A" }, { ticketId: "B", blockedBy: [] }]);
    const runner = await testRunner(home);
    // Both change the same file, so that one of them may end as a conflict: that is not what this is about.
    await runner.settle("p", { A: "complete" }, 60_000);
    await until(() => home.ticket("p", "B").activity.state === "finished", 60_000);
    expect({ ...bytes(home), log: readFileSync(join(home.repo, ".git", "logs", "HEAD"), "utf8") }).toEqual(before);
    expect(journal(home).filter(({ type }) => type === "isolation_breach")).toEqual([]);
    const runs = join(home.home, "run", "p", "A");
    expect(readdirSync(runs).filter((run) => existsSync(join(runs, run, "git-trace")))).toEqual([]);
  }, 120_000);

  it.each([
    ["git reset", 'git -C "$ORCH_REPO" reset -q --hard', /The agent ran: git -C \S+ reset -q --hard \(in \S+\)/],
    [
      "another branch and a commit",
      'cd "$ORCH_REPO" && git checkout -q -b other && git commit -qm sneaky',
      /HEAD moved from main@.*reflog: .*commit: sneaky.*git checkout -q -b other/,
    ],
    ["a stash", 'cd "$ORCH_REPO" && git stash push -q -u', /stash: 1 entry is new/],
    [
      "a hook and a setting",
      'git config core.fsmonitor true; echo evil > "$ORCH_REPO/.git/hooks/post-commit"',
      /core\.fsmonitor.*post-commit is new.*git config core\.fsmonitor true/,
    ],
    ["rm", 'rm "$ORCH_REPO/scratch.txt"', /1 deleted \(scratch\.txt\).*it may have been you/],
  ])("a run that did %s stops its ticket, says what it did, and the command takes it back", async (_, act, evidence) => {
    const home = homeWithAgent(`echo work > work.txt\n(${act})\necho done`);
    const before = bytes(home);
    home.writePlan({ id: "p", workflow: "work" }, [{ ticketId: "A" }]);
    const runner = await testRunner(home);
    await runner.settle("p", { A: "needs_attention" });
    const ticket = home.ticket("p", "A");
    expect(ticket.phaseHistory.map(({ phase, category }) => [phase, category])).toEqual([["implement", "isolation"]]);
    expect(ticket.error).toMatch(evidence);
    expect(ticket.error).toContain("orchestrator retry p A");
    expect(ticket.error).toContain("checkoutGuard: warn");
    expect(await until(() => journal(home).find(({ type }) => type === "isolation_breach"))).toMatchObject({
      reason: expect.stringMatching(evidence),
    });
    // Its work is committed all the same.
    expect(home.git("show", "orch/p/A:work.txt")).toBe("work");
    const why = await runCli(home, "why", "p", "A");
    const command = /^ +orchestrator (restore --checkout .*)$/m.exec(why.stdout.trimEnd())?.[1] ?? "";
    expect(await runCli(home, ...command.trim().split(" "))).toMatchObject({ code: 0, stderr: "" });
    expect(bytes(home)).toEqual(before);
    expect((await runCli(home, "restore", "--checkout", "--repo", home.repo, "--list")).stdout.trimEnd().split("\n")).toHaveLength(2);
  });

  it("with checkoutGuard: warn the ticket goes on and the person is told", async () => {
    const home = homeWithAgent('echo work > work.txt; rm "$ORCH_REPO/scratch.txt"; echo done', { checkoutGuard: "warn" });
    const told = join(home.dir, "told");
    writeFileSync(
      join(home.home, "config.yaml"),
      `${readFileSync(join(home.home, "config.yaml"), "utf8")}\nnotifyCommand: cat >> ${told}\n`,
    );
    home.writePlan({ id: "p", workflow: "work" }, [{ ticketId: "A" }]);
    const runner = await testRunner(home);
    await runner.settle("p", { A: "complete" });
    expect(home.ticket("p", "A").phaseHistory[0]?.isolation?.evidence).toContain("1 deleted (scratch.txt)");
    await until(() => journal(home).some(({ type }) => type === "isolation_breach"));
    const notice = await until(() => (existsSync(told) ? readFileSync(told, "utf8") : ""));
    expect(JSON.parse(notice)).toMatchObject({ ticketId: "A", status: "isolation_breach" });
  });

  it("what changes in another worktree of the person stops a ticket only where its own commands show why", async () => {
    const home = homeWithAgent(
      "echo work > work.txt; if [ $ORCH_TICKET = A ]; then rm ../../../linked/README.md; else git -C ../../../linked reset -q --hard; fi; echo done",
      {
        maxConcurrency: 1,
      },
    );
    home.git("worktree", "add", "--quiet", "-b", "mine", join(home.dir, "linked"));
    home.writePlan({ id: "p", workflow: "work" }, [{ ticketId: "A" }, { ticketId: "B", blockedBy: ["A"] }]);
    const runner = await testRunner(home);
    await runner.settle("p", { A: "complete", B: "needs_attention" });
    expect(home.ticket("p", "A").phaseHistory[0]?.isolation?.evidence).toContain("1 deleted (README.md)");
    expect(home.ticket("p", "B").error).toMatch(
      /linked is not what it was before the run: files: 1 new \(README\.md\).*The agent ran: git -C/,
    );
  });

  it("with checkoutGuard: off nobody looks", async () => {
    const home = homeWithAgent('echo work > work.txt; rm "$ORCH_REPO/scratch.txt"; echo "trace: $GIT_TRACE2_EVENT"', {
      checkoutGuard: "off",
    });
    home.writePlan({ id: "p", workflow: "work" }, [{ ticketId: "A" }]);
    const runner = await testRunner(home);
    await runner.settle("p", { A: "complete" });
    expect(home.ticket("p", "A").phaseHistory[0]?.output?.trim()).toBe("trace:");
    expect(existsSync(join(home.home, "checkouts"))).toBe(false);
  });

  it("P5 a daemon that was killed meanwhile does not keep its successor from seeing it", async () => {
    const home = homeWithAgent(
      'echo work > work.txt; while [ ! -e "$ORCH_REPO/../go" ]; do read -t 0.05 < <(:); done; git -C "$ORCH_REPO" reset -q --hard; echo done',
    );
    const before = bytes(home);
    home.writePlan({ id: "p", workflow: "work" }, [{ ticketId: "A" }]);
    const first = await startDaemon(home);
    const claim = join(home.home, "run", "p", "A", "0001-implement", "claim.json");
    await until(() => existsSync(claim));
    await first.end("SIGKILL");
    writeFileSync(join(home.dir, "go"), "");
    await until(() => existsSync(join(home.home, "run", "p", "A", "0001-implement", "exit.json")));
    const second = await startDaemon(home);
    await until(() => home.ticket("p", "A").activity.state === "finished");
    expect(home.ticket("p", "A")).toMatchObject({
      status: "needs_attention",
      error: expect.stringMatching(/The agent ran: git -C .* reset/),
    });
    expect((await runCli(home, "restore", "--checkout", "--repo", home.repo)).code).toBe(0);
    expect(bytes(home)).toEqual(before);
    await second.end("SIGTERM");
  });

  it("land at the person's command, and a trace that cannot be written, disturb no run", async () => {
    const home = homeWithAgent(
      'rm -rf "$GIT_TRACE2_EVENT"; echo work > work.txt; git add -A; git -c core.hooksPath=/dev/null commit -qm work; touch "$ORCH_REPO/../at-work"; while [ ! -e "$ORCH_REPO/../go" ]; do read -t 0.05 < <(:); done; git status --short; echo done',
    );
    home.git("stash", "push", "--quiet");
    home.git("branch", "orchestrator/main", home.git("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "merged"));
    home.writePlan({ id: "p", workflow: "work" }, [{ ticketId: "A" }]);
    const runner = await testRunner(home);
    await runner.runner.tick();
    await until(async () => {
      await runner.runner.tick();
      return existsSync(join(home.dir, "at-work"));
    });
    expect(await runCli(home, "land", "--repo", home.repo)).toMatchObject({ code: 0 });
    writeFileSync(join(home.dir, "go"), "");
    await runner.settle("p", { A: "complete" });
    expect(home.ticket("p", "A").phaseHistory[0]).toMatchObject({ status: "success", output: "done" });
  });

  it("a run whose supervisor was killed is still held to account, by the run that would follow it", async () => {
    const home = homeWithAgent('git -C "$ORCH_REPO" stash push -q -u; touch "$ORCH_REPO/../did"; exec sleep 600');
    const before = bytes(home);
    home.writePlan({ id: "p", workflow: "work" }, [{ ticketId: "A" }]);
    const runner = await testRunner(home);
    await until(async () => {
      await runner.runner.tick();
      return existsSync(join(home.dir, "did"));
    });
    const claim = join(home.home, "run", "p", "A", "0001-implement", "claim.json");
    process.kill((JSON.parse(readFileSync(claim, "utf8")) as { pid: number }).pid, "SIGKILL");
    await runner.settle("p", { A: "needs_attention" });
    expect(home.ticket("p", "A").phaseHistory.map(({ status, category }) => [status, category])).toEqual([
      ["lost", undefined],
      ["failure", "isolation"],
    ]);
    expect((await runCli(home, "restore", "--checkout", "--repo", home.repo)).code).toBe(0);
    expect(bytes(home)).toEqual(before);
  });
});
