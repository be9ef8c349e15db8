import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";

/** A configuration as the first seed's `init` wrote it, but for the interval. Its arguments for codex are invalid today. */
const configuration = `defaultAgent: claude
agents:
  claude:
    command: claude
    defaultArgs: ["--dangerously-skip-permissions"]
  codex:
    command: codex
    defaultArgs: ["--approval-mode", "never"]
  pi:
    command: pi
    defaultArgs: []
pollInterval: 0.2
maxConcurrency: 3
ghCommand: gh
mcpServers:
  linear:
    command: npx
    args: ["-y", "mcp-remote", "https://mcp.linear.app/mcp"]
`;

const standard = fileURLToPath(new URL("../inputs/fixtures/first-seed/standard.yaml", import.meta.url));

/** Answers like claude: implements with the feedback it got, fails the first review, and speaks its stream. */
const claude = `#!/bin/bash
prompt=$(cat)
say() { printf '{"type":"system","subtype":"init","session_id":"%s"}\\n{"type":"result","subtype":"success","is_error":false,"result":"%s","session_id":"%s","total_cost_usd":0.01,"usage":{"input_tokens":10,"output_tokens":5}}\\n' "$session" "$1" "$session"; }
session=$(cat /proc/sys/kernel/random/uuid)
case $ORCH_PHASE in
  implement) if grep -q "missing a test" <<< "$prompt"; then echo tested >> work.txt; else echo begun > work.txt; fi; say done;;
  self_review) if grep -q tested work.txt; then say PASS; else say 'FAIL\\n- missing a test'; fi;;
  *) say "nothing to do";;
esac
`;

it("plans, tickets, configuration and workflows in the first seed's own format run to completion", async () => {
  const home = testHome();
  const bin = join(home.dir, "bin");
  mkdirSync(bin);
  for (const [name, text] of Object.entries({ claude, gh: '#!/bin/bash\necho "42"\n' })) {
    writeFileSync(join(bin, name), text);
    chmodSync(join(bin, name), 0o755);
  }
  home.env.PATH = `${bin}:${home.env.PATH}`;
  writeFileSync(join(home.home, "config.yaml"), configuration);
  mkdirSync(join(home.home, "workflows"));
  cpSync(standard, join(home.home, "workflows", "standard.yaml"));
  mkdirSync(join(home.home, "prompts"));
  for (const name of ["create-pr.md", "handle-review.md"])
    writeFileSync(join(home.home, "prompts", name), "Work on {{ ticketId }} in {{ worktree }}.\n");
  home.writeScript("check-pr-review.sh", 'echo approved; [ "$2" = 42 ]\n');
  home.writeScript(
    "check-pr-merged.sh",
    `n=$(cat ${home.dir}/checks 2>/dev/null || echo 0); echo $((n + 1)) > ${home.dir}/checks; [ "$n" -ge 1 ]\n`,
  );
  const workflowText = readFileSync(standard, "utf8");
  writeFileSync(join(home.home, "workflows", "standard.yaml"), workflowText.replaceAll("intervalSeconds: 60", "intervalSeconds: 0.2"));

  const ticket = {
    linearUrl: null,
    repo: null,
    workflow: "standard",
    agent: null,
    status: "queued",
    currentPhase: "setup",
    phaseHistory: [],
    context: {},
    retries: {},
    error: null,
    labels: ["kept", "though unknown"],
  };
  const branch = { branch: "ada/auth-1-login", worktree: join(home.dir, "worktrees", "AUTH-1") };
  home.writePlan({ id: "sprint-12", workflow: "standard", worktreeRoot: join(home.dir, "worktrees") }, [
    { ticketId: "AUTH-1", title: "Login", description: "A login.", acceptanceCriteria: ["works"], ...ticket, ...branch },
  ]);
  const runner = await testRunner(home);
  await runner.settle("sprint-12", { "AUTH-1": "complete" });

  const after = home.ticket("sprint-12", "AUTH-1") as ReturnType<typeof home.ticket> & { labels: unknown };
  expect(after.labels).toEqual(["kept", "though unknown"]);
  expect(after.context).toMatchObject({ pr_number: "42", review_state: "approved", self_review_feedback: "PASS" });
  expect(after.phaseHistory.map(({ phase, status }) => `${phase} ${status}`)).toEqual([
    "setup success",
    "implement success",
    "self_review failure",
    "implement success",
    "self_review success",
    "simplify success",
    "create_pr success",
    "await_review success",
    "await_merge success",
    "cleanup success",
  ]);
  const sessions = after.phaseHistory.flatMap(({ session }) => (session ? [session.provider] : []));
  expect(sessions).toEqual(["claude", "claude", "claude", "claude", "claude", "claude"]);
});
