import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";

it("what failed reaches the next attempt, and prompt.md is what the agent got, byte for byte", { timeout: 60_000 }, async () => {
  // Notes what it reads, and does the work right at the third time only.
  const script = `
n=$(($(cat "$0/count" 2>/dev/null || echo 0) + 1)); echo $n > "$0/count"
cat > "$0/stdin-$n"
case $n in 1) echo broken; exit 3;; 2) echo bad > answer;; *) echo good > answer;; esac
echo done`;
  const home = testHome();
  const notes = join(home.dir, "notes");
  for (const dir of [notes, join(home.home, "prompts")]) mkdirSync(dir);
  const agents = { none: { command: "bash", defaultArgs: ["-c", script, notes] } };
  const config = { defaultAgent: "none", agents, pollInterval: 0.2, retryBackoffSeconds: 0 };
  writeFileSync(join(home.home, "config.yaml"), JSON.stringify(config), { mode: 0o600 });
  writeFileSync(join(home.home, "prompts", "work.md"), "Work on {{ ticketId }}: «{{ title }}»\n");
  home.writeWorkflow(
    "loop.yaml",
    `name: loop
phases:
  - { id: work, type: agent, promptTemplate: work.md, maxRetries: 1, onSuccess: checks }
  - id: checks
    type: checks
    commands: { answer: '[ ! -e answer ] || grep -q good answer || { echo "answer is $(cat answer)"; exit 4; }' }
    onFailure: work
`,
  );
  home.writePlan({ id: "p", workflow: "loop" }, [{ ticketId: "A", title: "Ünïcode" }]);
  const { settle } = await testRunner(home);
  await settle("p", { A: "complete" }, 50_000);

  const runs = join(home.home, "run", "p", "A");
  const given = readdirSync(runs)
    .filter((run) => run.endsWith("-work"))
    .sort()
    .map((run) => readFileSync(join(runs, run, "prompt.md")));
  const got = [1, 2, 3].map((n) => readFileSync(join(notes, `stdin-${n}`)));
  expect(given).toEqual(got);
  const [first = "", second = "", third = ""] = got.map(String);
  expect(first).toBe("Work on A: «Ünïcode»\n");
  expect(second).toMatch(
    /^## What was done before\n.*\n## The task\n\nWork on A: «Ünïcode»\n\n## What failed before\n\nPhase `work` failed/s,
  );
  expect(second).toContain("This is attempt 2 of 2 in this round, the last one; it is round 1 of at most 5.");
  expect(second).toContain("exit code 3");
  expect(third).toContain("Phase `checks` failed (test).");
  expect(third).toContain("This is attempt 1 of 2 in this round, 1 more may follow; it is round 2 of at most 5.");
  expect(third).toContain("### Check `answer`: exit code 4");
  expect(third).toContain("answer is bad");
  expect(third).toContain("answer | +1 -0");
  expect(third).toContain("+bad");
});
