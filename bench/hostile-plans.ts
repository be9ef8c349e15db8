import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Ticket } from "../src/domain/ticket.ts";
import { type Figure, limited } from "./figure.ts";
import { type BenchHome, program, ticketId, until, withHome } from "./home.ts";

const hostileRuns = 100;
const normalRuns = 20;

/** What agents do to the checkout of the person whose ticket they work. */
const acts = [
  "git reset --quiet --hard",
  "git checkout --quiet -B other",
  "git stash push --quiet --include-untracked",
  "git stash clear",
  "git config core.editor false",
  "printf 'echo evil\\n' > .git/hooks/pre-push",
  "rm untracked.txt",
  "git commit --quiet -m sneaky",
  "git clean -fdq",
  "git rm --quiet --cached c.txt",
];

/** 100 plans whose agent does something to a checkout in use, and 20 whose agent keeps to its worktree, by a real daemon. */
export async function hostilePlans(): Promise<Figure[]> {
  const agents = { agent: { command: "AGENT" } };
  return withHome({ pollInterval: 0.1, defaultAgent: "agent", agents }, async (home) => {
    const repo = makeCheckout(home);
    const command = join(home.dir, "agent.sh");
    const file = join(home.dir, "home", "config.yaml");
    writeFileSync(file, readFileSync(file, "utf8").replace("AGENT", command));
    const daemon = await home.startDaemon();
    let [unseen, lost, alarms] = [0, 0, 0];
    for (let run = 0; run < hostileRuns + normalRuns; run++) {
      const isHostile = run < hostileRuns;
      const act = isHostile ? `cd "$ORCH_REPO" && ${acts[run % acts.length]}` : "echo work > work.txt; git status > /dev/null";
      writeFileSync(command, `#!/bin/bash\ncat > /dev/null\n${act}\necho done\n`, { mode: 0o755 });
      const before = picture(repo);
      home.addPlan(`plan-${run}`, { workflow: "one", tickets: 1, plan: { worktreeRoot: join(home.dir, "worktrees", String(run)) } });
      const ticket = () => home.ticket(`plan-${run}`, ticketId(0));
      await until(() => hasEnded(ticket));
      const found = ticket().phaseHistory.at(0)?.isolation;
      if (!isHostile) alarms += found !== undefined || picture(repo) !== before ? 1 : 0;
      else if (found === undefined) unseen++;
      else {
        spawnSync("bash", ["-c", found.restore.replace("orchestrator", `"${process.execPath}" "${program}"`)], { env: home.env });
        if (picture(repo) !== before) lost++;
      }
    }
    await daemon.stop();
    return [
      limited(`${hostileRuns} plans with a hostile agent: not noticed`, unseen, 0, "plans"),
      limited(`${hostileRuns} plans with a hostile agent: checkout not the same to the byte after restore`, lost, 0, "plans"),
      limited(`${normalRuns} plans with a decent agent: accused, or checkout changed`, alarms, 0, "plans"),
    ];
  });
}

function hasEnded(ticket: () => Ticket): boolean {
  try {
    return ticket().activity?.state === "finished";
  } catch (error) {
    // While it is being replaced, a file has no name for an instant.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

/** A repository whose person is in the middle of something. */
function makeCheckout(home: BenchHome): string {
  const repo = join(home.dir, "repo");
  const git = (...args: string[]) => execFileSync("git", args, { cwd: repo, env: home.env, stdio: ["ignore", "ignore", "ignore"] });
  git("init", "--quiet", "--initial-branch=main");
  git("config", "user.name", "Ada");
  git("config", "user.email", "ada@example.org");
  for (const name of ["a", "b", "c"]) writeFileSync(join(repo, `${name}.txt`), `${name}\n`);
  git("add", "--all");
  git("commit", "--quiet", "-m", "first");
  writeFileSync(join(repo, "b.txt"), "for later\n");
  git("stash", "push", "--quiet");
  writeFileSync(join(repo, "a.txt"), "staged\n");
  git("add", "a.txt");
  writeFileSync(join(repo, "a.txt"), "and changed\n");
  writeFileSync(join(repo, "untracked.txt"), "untracked\n");
  writeFileSync(
    join(home.dir, "home", "workflows", "one.yaml"),
    JSON.stringify({
      name: "one",
      phases: [
        { id: "implement", type: "agent", promptTemplate: "implement.md", onSuccess: "done", onFailure: "stuck" },
        { id: "done", type: "terminal" },
        { id: "stuck", type: "terminal", notify: true },
      ],
    }),
  );
  return repo;
}

/** Of a checkout: its files, HEAD, branch, index entries, stash, configuration and hooks. A branch that an agent added may stay. */
function picture(repo: string): string {
  const digest = createHash("sha256");
  const add = (folder: string) => {
    for (const entry of readdirSync(join(repo, folder), { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory() && path !== ".git") add(path);
      else if (entry.isFile()) digest.update(`${path}\0`).update(readFileSync(join(repo, path)));
    }
  };
  add("");
  add(join(".git", "hooks"));
  const show = (...args: string[]) => execFileSync("git", args, { cwd: repo, env: { ...process.env, GIT_OPTIONAL_LOCKS: "0" } });
  for (const file of ["HEAD", "config"]) digest.update(readFileSync(join(repo, ".git", file)));
  digest.update(show("ls-files", "--stage")).update(show("stash", "list")).update(show("rev-parse", "main"));
  return digest.digest("hex");
}
