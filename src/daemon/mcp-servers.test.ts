import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { type TestHome, testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";
import { until } from "../testing/until.ts";

const token = "tracker-token-0123456789";
const reference = ["$", "{MY_TOKEN}"].join("");

/** A claude that says what its MCP configuration holds, and whether its own environment holds it too. */
function installTalkative(bin: string, hold: string): void {
  mkdirSync(bin);
  const help = new URL("../agents/fixtures/help/claude-2.1.197.txt", import.meta.url).pathname;
  const program = `#!${process.execPath}
const { existsSync, readFileSync, statSync } = require("node:fs");
const args = process.argv.slice(2);
if (args[0] === "--version") console.log("2.1.197 (Claude Code)");
else if (args.at(-1) === "--help") process.stdout.write(readFileSync(${JSON.stringify(help)}, "utf8"));
else if (args.includes("--orchestrator-probe")) { console.error("error: unknown option '--orchestrator-probe'"); process.exitCode = 1; }
else {
  readFileSync(0);
  while (existsSync(${JSON.stringify(hold)})) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  const file = args[args.indexOf("--mcp-config") + 1];
  const mode = (statSync(file).mode & 0o777).toString(8);
  const mine = Object.values(process.env).some((value) => value.includes(${JSON.stringify(token)}));
  const session_id = args[args.indexOf("--session-id") + 1];
  console.log(JSON.stringify({ type: "system", subtype: "init", session_id, tools: [] }));
  const { mcpServers } = JSON.parse(readFileSync(file, "utf8"));
  const script = mcpServers.tracker.args[0];
  const result = [mode, mine, mcpServers, readFileSync(script, "utf8").split("\\n"), (statSync(script).mode & 0o777).toString(8)];
  console.error(JSON.stringify(result));
  console.log(JSON.stringify({ type: "result", subtype: "success", is_error: false, result: JSON.stringify(result), session_id, total_cost_usd: 0 }));
}
`;
  writeFileSync(join(bin, "claude"), program);
  chmodSync(join(bin, "claude"), 0o755);
}

/** While it is there, the program waits. */
const holdFile = (home: TestHome) => join(home.dir, "hold");
const runDir = (home: TestHome, run: string) => join(home.home, "run", "p", "A", run);

function filesWith(dir: string, text: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => readFileSync(file, "utf8").includes(text));
}

function homeWith(phase: string): TestHome {
  const home = testHome({
    config: {
      defaultAgent: "claude",
      agents: { claude: { command: "claude" } },
      mcpServers: {
        tracker: { command: "tracker-server", args: ["--stdio"], env: { TRACKER_TOKEN: reference, MODE: "rw" } },
        web: { url: "https://example.invalid/mcp", headers: { Authorization: `Bearer ${reference}` } },
      },
    },
  });
  home.env.PATH = `${join(home.dir, "bin")}:/usr/local/bin:/usr/bin:/bin`;
  home.env.MY_TOKEN = token;
  installTalkative(join(home.dir, "bin"), holdFile(home));
  home.writeWorkflow(
    "talk.yaml",
    `name: talk\nphases:\n  - { id: talk, type: agent, promptTemplate: simplify.md${phase}, onSuccess: done }\n  - { id: done, type: terminal }\n`,
  );
  home.writePlan({ id: "p", workflow: "talk" }, [{ ticketId: "A", description: "talk" }]);
  return home;
}

it("an agent's MCP servers get their secrets by a file of the run, and nothing keeps one", async () => {
  const home = homeWith("");
  const runner = await testRunner(home);
  await runner.settle("p", { A: "complete" });
  const [entry] = home.ticket("p", "A").phaseHistory;
  expect(JSON.parse(entry?.output ?? "")).toEqual([
    "600",
    false,
    {
      tracker: { command: "/bin/sh", args: [join(runDir(home, "0001-talk"), "private", "mcp-0.sh")], env: {} },
      web: { type: "http", url: "https://example.invalid/mcp", headers: { Authorization: "Bearer [redacted]" } },
    },
    ["export TRACKER_TOKEN='[redacted]'", "export MODE='rw'", "exec 'tracker-server' '--stdio'", ""],
    "600",
  ]);
  expect(filesWith(home.dir, token)).toEqual([join(home.dir, "bin", "claude")]);
});

it("P12 a run that is lost, one that was revoked and one that never came to start leave no secret", async () => {
  const home = homeWith("");
  writeFileSync(holdFile(home), "");
  const runner = await testRunner(home);
  const begun = (run: string) =>
    until(async () => {
      await runner.runner.tick();
      return existsSync(join(runDir(home, run), "claim.json"));
    });
  await begun("0001-talk");
  expect(filesWith(home.home, token)).toHaveLength(2);
  mkdirSync(runDir(home, "0002-talk"), { recursive: true });
  const revoked = { schema: 1, runId: "0002-talk", by: "revoked", pid: 1, start: "", bootId: "", at: "" };
  writeFileSync(join(runDir(home, "0002-talk"), "claim.json"), JSON.stringify(revoked));
  const { pid } = JSON.parse(readFileSync(join(runDir(home, "0001-talk"), "claim.json"), "utf8"));
  process.kill(pid, "SIGKILL");
  await begun("0003-talk");
  expect(filesWith(home.home, token).filter((file) => !file.startsWith(runDir(home, "0003-talk")))).toEqual([]);
  rmSync(holdFile(home));
  await runner.settle("p", { A: "complete" });
  expect(home.ticket("p", "A").phaseHistory.map(({ status }) => status)).toEqual(["lost", "interrupted", "success"]);
  mkdirSync(join(home.home, "prompts"));
  writeFileSync(join(home.home, "prompts", "simplify.md"), "{{ nothing_of_that_name }}\n");
  home.writePlan({ id: "q", workflow: "talk" }, [{ ticketId: "A", description: "talk" }]);
  await runner.settle("q", { A: "needs_attention" });
  expect(filesWith(home.home, token)).toEqual([]);
}, 60_000);

it("allowedTools lets through the servers that it names", async () => {
  const home = homeWith(", allowedTools: [Read, mcp__tracker__list]");
  const runner = await testRunner(home);
  await runner.settle("p", { A: "complete" });
  const [entry] = home.ticket("p", "A").phaseHistory;
  const [, , mcpServers] = JSON.parse(entry?.output ?? "");
  expect(Object.keys(mcpServers)).toEqual(["tracker"]);
});
