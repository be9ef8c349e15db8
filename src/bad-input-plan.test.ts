import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runCli, startDaemon } from "./testing/daemon.ts";
import { type TestHome, testHome } from "./testing/home.ts";
import { runHere } from "./testing/run-here.ts";
import { testRunner } from "./testing/runner.ts";
import { until } from "./testing/until.ts";

const inWorktree = `name: tree
phases:
  - { id: setup, type: script, command: setup-worktree.sh, args: ["{{ repo }}", "{{ branch }}", "{{ worktree }}"], onSuccess: work }
  - { id: work, type: script, command: work.sh, onSuccess: done }
  - { id: done, type: terminal }
`;
const inPlace = `name: place
phases:
  - { id: work, type: script, command: work.sh, onSuccess: done }
  - { id: done, type: terminal }
`;

/** A home with two workflows whose work waits for as long as the file `hold` exists. */
function planHome(): TestHome & { cli(...args: string[]): Promise<{ code: number | null; said: string }> } {
  const home = testHome();
  home.writeWorkflow("tree.yaml", inWorktree);
  home.writeWorkflow("place.yaml", inPlace);
  home.writeScript("work.sh", `touch ${home.dir}/began-$ORCH_PLAN\nwhile [ -e ${home.dir}/hold ]; do sleep 0.02; done\n`);
  const cli = async (...args: string[]) => {
    // What works tickets is a process of its own; the home folder of its user is asked of the system.
    const isApart = args[0] === "run" || args[0] === "check";
    const { code, stdout, stderr } = await (isApart ? runCli(home, ...args) : runHere({ env: home.env, cwd: home.dir }, ...args));
    return { code, said: (stdout + stderr).replaceAll(home.home, "HOME").replaceAll(home.dir, "DIR") };
  };
  return { ...home, cli };
}

const plansOf = (home: TestHome) => join(home.home, "state", "plans");

describe("dependencies and lists", () => {
  it("25 26 27 hold what can never start, name cycle, typo and file, and let the rest complete", async () => {
    const home = planHome();
    home.writePlan({ id: "p", workflow: "place" }, [
      { ticketId: "A", blockedBy: ["B"] },
      { ticketId: "B", blockedBy: ["C"] },
      { ticketId: "C", blockedBy: ["A"] },
      { ticketId: "SELF", blockedBy: ["SELF"] },
      { ticketId: "TYPO", blockedBy: ["GODO"] },
      { ticketId: "GOOD" },
    ]);
    home.writePlan({ id: "list", workflow: "place", tickets: [{ ticketId: "GOOD" }, { ticketId: "GONE" }] }, [
      { ticketId: "GOOD" },
      { ticketId: "EXTRA" },
    ]);
    const runner = await testRunner(home);
    await runner.settle("p", { GOOD: "complete" });
    await runner.settle("list", { GOOD: "complete" });
    expect(["A", "B", "C", "SELF", "TYPO"].map((id) => home.ticket("p", id).status)).toEqual(Array(5).fill("queued"));
    expect(home.ticket("list", "EXTRA").status).toBe("queued");
    await until(() => home.plan("p").status === "blocked" && home.plan("list").status === "blocked");

    const words = [
      "tickets: blockers form a cycle: A → B → C → A",
      "tickets: blockers form a cycle: SELF → SELF",
      'tickets: TYPO is blocked by "GODO", which the plan does not have',
      'did you mean "GOOD"?',
      "tickets: GONE has no file",
      "tickets/EXTRA.json is not in the plan's list",
    ];
    const status = await home.cli("status");
    const check = await home.cli("check");
    expect(check.code).toBe(8);
    for (const word of words) expect([status.said, check.said]).toEqual([expect.stringContaining(word), expect.stringContaining(word)]);
    expect(check.said).toContain("HOME/state/plans/list/plan.json");
    for (const [plan, ticket, why] of [
      ["p", "B", "A → B → C → A"],
      ["p", "SELF", "SELF → SELF"],
      ["p", "TYPO", 'Did you mean "GOOD"?'],
      ["list", "GONE", "GONE.json: there is no such file"],
      ["list", "EXTRA", "plan.json does not list EXTRA"],
    ] as const) {
      const answer = await home.cli("why", plan, ticket);
      expect(answer.said).toContain(ticket === "B" ? "B → C → A → B" : why);
    }
    writeFileSync(join(plansOf(home), "list", "tickets", "GONE.json"), JSON.stringify({ planId: "list", ticketId: "GONE" }));
    const plan = home.plan("list") as { tickets: object[] };
    writeFileSync(join(plansOf(home), "list", "plan.json"), JSON.stringify({ ...plan, tickets: [...plan.tickets, { ticketId: "EXTRA" }] }));
    await runner.settle("list", { GONE: "complete", EXTRA: "complete" });
  });
});

describe("repositories, branches and worktrees", () => {
  it("28 32 41 42 each has its own message, in check before anything runs and in status and why after", async () => {
    const home = planHome();
    const folder = (name: string, ...args: string[]) => {
      mkdirSync(join(home.dir, name));
      if (args.length > 0) execFileSync("git", args, { cwd: join(home.dir, name), env: home.env });
      return join(home.dir, name);
    };
    const plain = folder("plain");
    writeFileSync(join(home.dir, "file"), "");
    home.git("worktree", "add", "-q", "--detach", join(home.dir, "linked"));
    const cases: Record<string, [Record<string, unknown>, string]> = {
      ABSENT: [{ repo: "/no/where" }, "The repository /no/where does not exist."],
      PLAIN: [{ repo: plain }, "DIR/plain is not a git repository."],
      FILE: [{ repo: join(home.dir, "file") }, "The repository DIR/file is not a folder."],
      UNBORN: [{ repo: folder("unborn", "init", "-q") }, "The repository DIR/unborn has no commit yet."],
      BARE: [{ repo: folder("bare", "init", "-q", "--bare") }, "The repository DIR/bare has no commit yet."],
      INGIT: [{ repo: join(home.repo, ".git") }, "DIR/repo/.git lies inside a .git folder."],
      RELATIVE: [{ repo: "../repo" }, "is not an absolute path"],
      DASH: [{ branch: "-x" }, '"-x" cannot be the name of a branch'],
      DOTS: [{ branch: "a..b" }, '"a..b" cannot be the name of a branch'],
      REFS: [{ branch: "refs/heads/x" }, '"refs/heads/x" cannot be the name of a branch'],
      SPACE: [{ branch: "a b" }, '"a b" cannot be the name of a branch'],
      BELOW: [{ branch: "main/sub" }, "git cannot keep it beside the branch main"],
      ROOT: [{ worktree: "/" }, "/ cannot be a worktree: it is the root of the file system"],
      INREPO: [{ worktree: join(home.repo, "inside") }, "DIR/repo/inside cannot be a worktree: it lies inside the repository"],
      ISREPO: [{ worktree: home.repo }, "DIR/repo cannot be a worktree: it is the repository or contains it"],
      USER: [{ worktree: home.env.HOME }, "DIR/user cannot be a worktree: it is the home folder or contains it"],
      PATH: [{ worktree: "x/y" }, "x/y cannot be a worktree: the path is not absolute"],
    };
    const tickets = Object.entries(cases).map(([ticketId, [fields]]) => ({ ticketId, ...fields }));
    home.writePlan({ id: "p", workflow: "tree" }, [
      ...tickets,
      { ticketId: "LINKED", repo: join(home.dir, "linked") },
      { ticketId: "GOOD" },
    ]);
    home.writePlan({ id: "inrepo", workflow: "tree", worktreeRoot: join(home.repo, "trees") }, [{ ticketId: "A" }]);

    const check = await home.cli("check");
    expect(check.code).toBe(8);
    for (const [id, [fields, message]] of Object.entries(cases)) {
      const [field = ""] = Object.keys(fields);
      const line = check.said.split("\n").find((each) => each.includes(`/tickets/${id}.json`));
      expect(line).toMatch(new RegExp(`^error: HOME/state/plans/p/tickets/${id}\\.json:\\d+:3 {2}${field}: `));
      expect(line).toContain(message);
    }
    expect(check.said).toMatch(
      /^error: .*inrepo\/plan\.json:\d+:3 {2}worktreeRoot: .*lies inside the repository.* — fix: set worktreeRoot/m,
    );

    const runner = await testRunner(home);
    const ended = Object.fromEntries(Object.keys(cases).map((id) => [id, "failed" as const]));
    await runner.settle("p", { GOOD: "complete", LINKED: "complete" });
    await until(async () => {
      await runner.runner.tick();
      return Object.keys(ended).every((id) => home.ticket("p", id).activity.state === "finished");
    });
    const status = await home.cli("status");
    const why = await home.cli("why", "p", "DASH");
    expect(why.said).toContain('"-x" cannot be the name of a branch');
    for (const [id, [, message]] of Object.entries(cases)) {
      const elsewhere: Record<string, string> = {
        ABSENT: "the working directory",
        FILE: "the working directory",
        PATH: "cannot be a worktree",
      };
      const seen = elsewhere[id] ?? message;
      expect(home.ticket("p", id).error?.replaceAll(home.dir, "DIR")).toContain(seen);
      expect(status.said).toContain(seen);
    }
    expect(home.git("status", "--porcelain")).toBe("");
    expect(home.git("for-each-ref", "--format=%(refname)", "refs/heads/refs")).toBe("");
  });

  it("32 a root of worktrees that is the home folder, holds it or lies in the repository refuses its tickets, with a better one", async () => {
    const home = planHome();
    const roots: Record<string, [string, string, string]> = {
      home: [home.env.HOME ?? "", "Worktrees cannot be kept right in DIR/user: it is your home folder", "HOME/worktrees/home"],
      above: [home.dir, "Worktrees cannot be kept right in DIR: it contains your home folder", "HOME/worktrees/above"],
      all: ["/", "Worktrees cannot be kept right in /: it is the root of the file system", "HOME/worktrees/all"],
      inside: [join(home.repo, "trees"), "DIR/repo/trees/A cannot be a worktree: it lies inside the repository", "DIR/repo-worktrees"],
    };
    for (const [id, [worktreeRoot]] of Object.entries(roots)) home.writePlan({ id, workflow: "tree", worktreeRoot }, [{ ticketId: "A" }]);
    home.writePlan({ id: "unnamed", workflow: "tree", worktreeRoot: null }, [{ ticketId: "A" }]);
    const check = await home.cli("check");
    expect(check.code).toBe(8);
    expect(check.said).not.toContain("unnamed");
    await startDaemon(home);
    await until(() => home.ticket("unnamed", "A").status === "complete");
    const ended = (id: string) => home.ticket(id, "A").activity.state === "finished";
    await until(() => Object.keys(roots).every(ended));
    for (const [id, [, message, better]] of Object.entries(roots)) {
      expect(check.said).toMatch(new RegExp(`${id}/plan\\.json:\\d+:3 {2}worktreeRoot: ${message}.* such as ${better} `));
      const error = home.ticket(id, "A").error?.replaceAll(home.home, "HOME").replaceAll(home.dir, "DIR");
      expect(error).toContain(message);
      expect(error).toContain(better);
    }
    expect(existsSync(join(home.env.HOME ?? "", "A"))).toBe(false);
    expect(home.git("status", "--porcelain")).toBe("");
  });

  it("33 42 of two tickets with one branch or one worktree the second waits until the first has ended", async () => {
    const home = planHome();
    writeFileSync(join(home.dir, "hold"), "");
    home.writePlan({ id: "a", workflow: "tree" }, [{ ticketId: "FIRST", branch: "same" }]);
    home.writePlan({ id: "b", workflow: "tree" }, [{ ticketId: "SECOND", branch: "same" }, { ticketId: "GOOD" }]);
    home.writePlan({ id: "c", workflow: "tree" }, [
      { ticketId: "T1", worktree: join(home.dir, "one") },
      { ticketId: "T2", worktree: join(home.dir, "one") },
    ]);
    const check = await home.cli("check");
    expect(check.said).toContain("a/FIRST has the branch same, too; whichever starts second waits until the first has ended");
    expect(check.said).toContain("c/T1 has the worktree DIR/one, too");
    expect(check.code).toBe(0);
    const { runner } = await testRunner(home);
    await until(async () => {
      await runner.tick();
      return ["a/FIRST", "b/GOOD", "c/T1"].every((name) => home.ticket(...(name.split("/") as [string, string])).currentPhase === "work");
    });
    expect([home.ticket("b", "SECOND").status, home.ticket("c", "T2").status]).toEqual(["queued", "queued"]);
    expect((await home.cli("why", "b", "SECOND")).said).toContain("which a/FIRST has until it ends.\n  orchestrator why a FIRST");
    expect((await home.cli("why", "c", "T2")).said).toContain("It needs the worktree DIR/one, which c/T1 has until it ends.");
    rmSync(join(home.dir, "hold"));
    await until(async () => {
      await runner.tick();
      return home.ticket("b", "GOOD").status === "complete" && home.ticket("b", "SECOND").status !== "queued";
    });
  });
});

describe("names and versions", () => {
  it("29 31 35 an id that cannot be one, a newer schema and what is no folder hold their plan, named, and no other", async () => {
    const home = planHome();
    home.writePlan({ id: "good", workflow: "place" }, [{ ticketId: "GOOD" }]);
    home.writePlan({ id: "newer", workflow: "place", schema: 9 }, [{ ticketId: "A" }]);
    home.writePlan({ id: "twins", workflow: "place" }, [{ ticketId: "A" }, { ticketId: "a" }]);
    home.writePlan({ id: "outside", workflow: "place", tickets: [{ ticketId: "../x" }] }, [{ ticketId: "A" }]);
    const long = "x".repeat(200);
    for (const name of ["CON", "a b", "..x", long, "empty"]) mkdirSync(join(plansOf(home), name));
    for (const name of ["CON", "a b", long]) writeFileSync(join(plansOf(home), name, "plan.json"), JSON.stringify({ id: name }));
    home.writePlan({ id: "other", workflow: "place" }, [{ ticketId: "A" }]);
    renameSync(join(plansOf(home), "other"), join(plansOf(home), "moved"));
    symlinkSync(join(plansOf(home), "good"), join(plansOf(home), "link"));
    const newer = readFileSync(join(plansOf(home), "newer", "plan.json"), "utf8");
    const runner = await testRunner(home);
    await runner.settle("good", { GOOD: "complete" });
    await until(() => home.plan("good").status === "complete");
    await runner.settle("twins", { A: "complete" });
    await until(() => home.plan("twins").status === "blocked");
    expect(home.ticket("twins", "a").status).toBe("queued");
    expect(await home.cli("why", "twins", "a")).toEqual({
      code: 0,
      said: expect.stringContaining("A and a differ only in case, so a is held"),
    });
    const status = await home.cli("status");
    const check = await home.cli("check");
    expect([status.code, check.code]).toEqual([0, 8]);
    for (const word of [
      /plans\/CON\W+this name cannot be a plan id.*reserved on Windows/,
      /plans\/a b\W+this name cannot be a plan id.*letters, digits/,
      /plans\/x{200}\W+this name cannot be a plan id/,
      /plans\/empty\/plan\.json\W+there is no such file/,
      /plans\/link\W+this is a symbolic link/,
      /plans\/moved\/plan\.json:\d+:\d+\W+id: is other.*the folder's name says moved/,
      /plans\/newer\/plan\.json\W+schema 9 needs a newer orchestrator \(this one knows 1\)/,
      /plans\/outside\/plan\.json:\d+:\d+\W+tickets\[0\]\.ticketId: an id is/,
      /plans\/twins\/plan\.json\W+tickets: A and a differ only in case, so a is held/,
    ]) {
      expect(status.said).toMatch(word);
      expect(check.said).toMatch(word);
    }
    expect(await home.cli("why", "newer", "A")).toEqual({ code: 8, said: expect.stringContaining("schema 9 needs a newer orchestrator") });
    expect(readFileSync(join(plansOf(home), "newer", "plan.json"), "utf8")).toBe(newer);
    expect(existsSync(join(plansOf(home), "newer", ".orch"))).toBe(false);
  });

  it("29 of plans and tickets that differ only in case the later one is held until the other has another name", async () => {
    const home = planHome();
    home.writePlan({ id: "pair", workflow: "place" }, [{ ticketId: "T" }]);
    home.writePlan({ id: "Pair", workflow: "place" }, [{ ticketId: "T" }]);
    home.writePlan({ id: "late", workflow: "place" }, [{ ticketId: "B" }, { ticketId: "b" }]);
    const { runner, settle } = await testRunner(home);
    await settle("Pair", { T: "complete" });
    await settle("late", { B: "complete" });
    await until(() => home.plan("pair").status === "blocked" && home.plan("late").status === "blocked");
    expect([home.ticket("pair", "T").status, home.ticket("late", "b").status]).toEqual(["queued", "queued"]);
    expect(existsSync(join(home.dir, "began-pair"))).toBe(false);
    const words = "the plans Pair and pair differ only in case, so pair is held";
    for (const args of [["status"], ["check"], ["why", "pair", "T"], ["run", "pair", "T"]]) {
      expect([args, (await home.cli(...args)).said]).toEqual([args, expect.stringContaining(words)]);
    }

    renameSync(join(plansOf(home), "Pair"), join(home.dir, "away"));
    await settle("pair", { T: "complete" });
    const tickets = join(plansOf(home), "late", "tickets");
    writeFileSync(join(tickets, "c.json"), readFileSync(join(tickets, "b.json"), "utf8").replace('"ticketId": "b"', '"ticketId": "c"'));
    rmSync(join(tickets, "b.json"));
    const renamed = { ...home.plan("late"), tickets: [{ ticketId: "B" }, { ticketId: "c" }] };
    writeFileSync(join(plansOf(home), "late", "plan.json"), JSON.stringify(renamed));
    await settle("late", { c: "complete" });
    await until(async () => {
      await runner.tick();
      return home.plan("pair").status === "complete" && home.plan("late").status === "complete";
    });
  });

  it("30 a plan that is taken away while it runs ends its run, harms no other, and goes on when it is back", async () => {
    const home = planHome();
    writeFileSync(join(home.dir, "hold"), "");
    home.writePlan({ id: "p", workflow: "place" }, [{ ticketId: "A" }]);
    home.writePlan({ id: "gone", workflow: "place" }, [{ ticketId: "A" }]);
    home.writePlan({ id: "parts", workflow: "place" }, [{ ticketId: "A" }]);
    const daemon = await startDaemon(home);
    // The script runs only after everything about its start is on disk.
    await until(() => ["p", "gone", "parts"].every((id) => existsSync(join(home.dir, `began-${id}`))));
    renameSync(join(plansOf(home), "gone"), join(home.dir, "away"));
    renameSync(join(plansOf(home), "parts", "tickets"), join(home.dir, "tickets"));
    const log = () => readFileSync(join(home.home, "logs", "orchestrator.log"), "utf8");
    await until(() => /plan gone was removed/.test(log()));
    rmSync(join(home.dir, "hold"));
    const isComplete = (id: string) =>
      existsSync(join(plansOf(home), id, "tickets", "A.json")) && home.ticket(id, "A").status === "complete";
    await until(() => isComplete("p") && isComplete("parts"));
    await until(() => existsSync(join(home.home, "run", "gone", "A", "0001-work", "exit.json")));
    expect(existsSync(join(plansOf(home), "gone"))).toBe(false);
    renameSync(join(home.dir, "away"), join(plansOf(home), "gone"));
    await until(() => isComplete("gone"));
    expect(home.ticket("gone", "A").phaseHistory.map(({ runId, status }) => `${runId} ${status}`)).toEqual(["0001-work success"]);
    expect(await daemon.end("SIGTERM")).toBe(0);
  });
});
