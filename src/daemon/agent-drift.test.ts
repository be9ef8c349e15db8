import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runCli } from "../testing/daemon.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";
import { until } from "../testing/until.ts";
import { installCli, type Release } from "../testing/versioned-cli.ts";

const recorded = (name: string) => readFileSync(new URL(`../agents/fixtures/help/${name}.txt`, import.meta.url), "utf8");
const claudeHelp = recorded("claude-2.1.197");
const codexHelp = recorded("codex-exec-0.169.0");

/** A help text without the paragraphs or lines of these flags. */
function without(help: string, ...flags: string[]): string {
  const named = (line: string) => /^ {0,8}-/.test(line) && flags.some((flag) => new RegExp(`(?<![\\w-])${flag}(?![\\w-])`).test(line));
  let isLeftOut = false;
  const lines = help.split("\n").filter((line) => {
    if (/^ {0,8}\S/.test(line)) isLeftOut = named(line);
    return !isLeftOut;
  });
  // A flag that others mention in passing is taken by nobody for one that is there; the shim goes by mentions alone.
  return flags.reduce((text, flag) => text.replaceAll(new RegExp(`(?<![\\w-])${flag}(?![\\w-])`, "g"), "that"), lines.join("\n"));
}

const oldFullAuto = "\nOptions:\n      --full-auto\n          Convenience alias for low-friction sandboxed automatic execution\n";

function homeWith(release: Release, agent: Record<string, unknown> = {}): { home: TestHome; bin: string } {
  const home = testHome({
    config: { defaultAgent: release.name, agents: { [release.name]: { command: release.name, ...agent } }, checkoutGuard: "off" },
  });
  const bin = join(home.dir, "bin");
  mkdirSync(bin);
  home.env.PATH = `${bin}:/usr/local/bin:/usr/bin:/bin`;
  home.writeWorkflow(
    "talk.yaml",
    "name: talk\nphases:\n  - { id: talk, type: agent, promptTemplate: simplify.md, maxTurns: 9, maxRetries: 3, onSuccess: done }\n  - { id: done, type: terminal }\n",
  );
  return { home, bin };
}

const plan = (home: TestHome, id = "p") => home.writePlan({ id, workflow: "talk" }, [{ ticketId: "A", description: "talk" }]);
const lastRun = (argvs: string[][]) =>
  (argvs.findLast((argv) => argv[0] !== "--version" && argv.at(-1) !== "--help" && !argv.includes("--orchestrator-probe")) ?? []).map(
    (arg) => arg.replace(/^(projects=\{")[^"]*/, "$1…").replace(/^\/.*\/worktrees\/.*/, "…"),
  );

const settings = ["analytics.enabled=false", "check_for_update_on_startup=false", "features.plugins=false", "features.apps=false"];
const codexArgv = [
  ...["exec", "--json", "-s", "workspace-write", "-c", "sandbox_workspace_write.network_access=true", "-C", "…", "--skip-git-repo-check"],
  ...settings.flatMap((setting) => ["-c", setting]),
];

describe("P8 a CLI that took other flags yesterday works today's tickets", () => {
  it.each<[string, string]>([
    [
      "0.120.0 (derived from 0.169: with --full-auto, without later flags)",
      without(codexHelp, "--approve-for-me", "--ignore-rules", "--trust") + oldFullAuto,
    ],
    [
      "0.133.0 (derived from 0.169: with --full-auto, which warns by then)",
      without(codexHelp, "--approve-for-me", "--trust") + oldFullAuto,
    ],
    ["0.153.0 (derived from 0.169: without --trust)", without(codexHelp, "--trust")],
    ["0.169.0 (recorded)", codexHelp],
  ])("codex %s", async (release, help) => {
    const defaultArgs = ["--full-auto", "--approve-for-me"];
    const codex: Release = { name: "codex", version: `codex-cli ${release.split(" ")[0]}`, help };
    const { home, bin } = homeWith(codex, { defaultArgs });
    const cli = installCli(bin, codex);
    plan(home);
    const runner = await testRunner(home);
    await runner.settle("p", { A: "complete" });
    const kept = help.includes("--approve-for-me");
    const expected = kept ? [...codexArgv.slice(0, 2), ...codexArgv.slice(6)] : codexArgv;
    expect(lastRun(cli.argvs())).toEqual([...expected, ...(kept ? ["--approve-for-me"] : []), "-"]);
    const log = readFileSync(join(home.home, "logs", "p", "A.log"), "utf8");
    expect(log.includes("`--approve-for-me` of defaultArgs is unknown to codex")).toBe(!kept);
  });

  it.each<[string, Release, string[], string[]]>([
    [
      "2.1.197 (recorded) leaves out a later flag",
      { name: "claude", version: "2.1.197 (Claude Code)", help: claudeHelp, hidden: ["--max-turns"] },
      ["--setting-sources", "user", "--strict-mcp-config", "--max-turns", "9"],
      ["`--permission-prompts none` of defaultArgs is unknown to claude 2.1.197; it was left out"],
    ],
    [
      "2.1.259 (derived: with --permission-prompts, without --max-turns and --strict-mcp-config)",
      {
        name: "claude",
        version: "2.1.259 (Claude Code)",
        help: `${without(claudeHelp, "--strict-mcp-config")}\nOptions:\n  --permission-prompts <mode>  Who is asked\n`,
      },
      ["--setting-sources", "user", "--permission-prompts", "none"],
      [
        "claude 2.1.259 has no --strict-mcp-config: servers of the repository's .mcp.json are started",
        "claude 2.1.259 has no --max-turns: maxTurns has no effect",
      ],
    ],
  ])("claude %s", async (_, release, args, notes) => {
    const { home, bin } = homeWith(release, { defaultArgs: ["--permission-prompts", "none"] });
    const cli = installCli(bin, release);
    plan(home);
    const runner = await testRunner(home);
    await runner.settle("p", { A: "complete" });
    expect(lastRun(cli.argvs()).filter((arg) => !/^[0-9a-f-]{36}$/.test(arg))).toEqual([
      ...["-p", "--output-format", "stream-json", "--verbose", "--session-id"],
      ...args,
    ]);
    const log = readFileSync(join(home.home, "logs", "p", "A.log"), "utf8");
    for (const note of notes) expect(log).toContain(note);
  });

  it.each<[Release["name"], string, string[]]>([
    [
      "gemini",
      "gemini-0.61.0",
      [
        ...["--output-format", "stream-json", "--approval-mode", "yolo", "--skip-trust", "--extensions", "none"],
        ...["--session-id", "ID", "--model", "big"],
      ],
    ],
    [
      "copilot",
      "copilot-1.0.102",
      [
        ...["--output-format", "json", "--allow-all-tools", "--no-ask-user", "--no-auto-update", "--no-color"],
        ...["--session-id", "ID", "--usage-output-file", "copilot-usage.json", "--model", "big"],
      ],
    ],
    ["opencode", "opencode-run-1.18.33", ["run", "--format", "json", "--print-logs", "--log-level", "ERROR", "--model", "big"]],
  ])("%s as recorded gets its argv, and its stream is read", async (name, help, expected) => {
    const release: Release = { name, version: help.replace(/^.*-/, ""), help: recorded(help) };
    const { home, bin } = homeWith(release, { model: "big" });
    const cli = installCli(bin, release);
    plan(home);
    const runner = await testRunner(home);
    await runner.settle("p", { A: "complete" });
    const argv = lastRun(cli.argvs()).map((arg) => (/^[0-9a-f-]{36}$/.test(arg) ? "ID" : arg.replace(/^\/.*\/run\/.*\//, "")));
    expect(argv).toEqual(expected);
    expect(home.ticket("p", "A").phaseHistory).toMatchObject([{ status: "success", agent: name, output: "done" }]);
  });

  it("P9 a CLI that cannot be run or read any more parks its agent, with one message, until it is replaced", async () => {
    const codex: Release = { name: "codex", version: "codex-cli 2.0.0", help: without(codexHelp, "--json") };
    const { home, bin } = homeWith(codex);
    const cli = installCli(bin, codex);
    plan(home);
    const runner = await testRunner(home);
    const parks = join(home.home, "state", "agents.json");
    await until(async () => {
      await runner.runner.tick();
      return existsSync(parks);
    });
    const { codex: park } = JSON.parse(readFileSync(parks, "utf8")).parks;
    expect(park).toMatchObject({
      category: "incompatible",
      reason:
        `Agent "codex": codex 2.0.0 is incompatible with orchestrator: it does not offer --json, and a run needs that to be started without a person and to be read. ` +
        `To go on: install a release that has it (npm install --global @openai/codex@0.169.0 is the tested one), or give the work to another agent (agents.codex in ${join(home.home, "config.yaml")}).`,
    });
    await runner.settle("p", { A: "ready" });
    expect(home.ticket("p", "A").phaseHistory).toMatchObject([
      { phase: "talk", status: "interrupted", category: "incompatible", agent: "codex" },
    ]);
    expect(lastRun(cli.argvs())).toEqual([]);
    const { stdout } = await runCli(home, "doctor", "--json");
    const check = JSON.parse(stdout).data.checks.find(({ name }: { name: string }) => name === "agent codex");
    expect(check).toMatchObject({
      state: "fail",
      detail: expect.stringContaining("does not offer --json"),
      fix: expect.stringContaining("@openai/codex@0.169.0"),
    });

    installCli(bin, { ...codex, version: "codex-cli 2.0.1", help: codexHelp });
    await runner.runner.intend({ type: "resume-agent", agent: "codex", by: "test" });
    await runner.settle("p", { A: "complete" });
  });

  it("P9 a CLI that is not there parks its agent with one message, costs no attempt, and is found once it is installed", async () => {
    const codex: Release = { name: "codex", version: "codex-cli 0.169.0", help: codexHelp };
    const { home, bin } = homeWith(codex);
    const notices = join(home.dir, "notices");
    const config = join(home.home, "config.yaml");
    appendFileSync(config, `notifyCommand: cat >> ${notices}\n`);
    for (const id of ["p", "q"]) plan(home, id);
    const runner = await testRunner(home);
    const ticked = async (condition: () => boolean) =>
      until(async () => {
        await runner.runner.tick();
        return condition();
      });
    await ticked(() => existsSync(notices) && readFileSync(notices, "utf8").includes("\n"));
    const reason = `Agent "codex": codex was not found on PATH (${home.env.PATH}). To go on: install it (npm install --global @openai/codex), or correct its command, or give the work to another agent (agents.codex in ${config}).`;
    expect(JSON.parse(readFileSync(join(home.home, "state", "agents.json"), "utf8")).parks.codex).toMatchObject({
      category: "incompatible",
      reason,
      program: true,
    });
    const [first, ...more] = readFileSync(notices, "utf8").trim().split("\n");
    expect([JSON.parse(first ?? ""), more]).toEqual([
      { status: "agent_parked", reason: expect.stringContaining("Sooner: orchestrator agents resume codex") },
      [],
    ]);

    installCli(bin, codex);
    await ticked(() => ["p", "q"].every((id) => home.ticket(id, "A").status === "complete"));
    const runs = ["p", "q"].flatMap((id) => home.ticket(id, "A").phaseHistory.map(({ status }) => status));
    expect(runs.filter((status) => status !== "interrupted")).toEqual(["success", "success"]);
    expect(readFileSync(notices, "utf8").trim().split("\n")).toHaveLength(1);
  });

  it("while a CLI is not there another agent does its work", async () => {
    const codex: Release = { name: "codex", version: "codex-cli 0.169.0", help: codexHelp };
    const { home, bin } = homeWith({ name: "claude", version: "", help: "" }, { fallbackAgents: ["codex"] });
    const config = join(home.home, "config.yaml");
    writeFileSync(config, readFileSync(config, "utf8").replace(/^agents:\n/m, "agents:\n  codex: { command: codex }\n"));
    installCli(bin, codex);
    plan(home);
    const runner = await testRunner(home);
    await runner.settle("p", { A: "complete" });
    expect(home.ticket("p", "A").phaseHistory).toMatchObject([
      { status: "interrupted", category: "incompatible", agent: "claude" },
      { status: "success", agent: "codex" },
    ]);
  });

  it("init names the versions it finds and takes the first that can be used", async () => {
    const codex: Release = { name: "codex", version: "codex-cli 0.169.0", help: codexHelp };
    const { home, bin } = homeWith(codex);
    installCli(bin, codex);
    installCli(bin, { name: "claude", version: "9.0.0", help: without(claudeHelp, "--print") });
    const dir = join(home.dir, "new");
    const { stdout } = await runCli(home, "init", "--dir", dir);
    expect(stdout).toMatch(/^claude +\S+claude: claude 9\.0\.0 is incompatible with orchestrator: it does not offer --print/m);
    expect(stdout).toMatch(/^codex +\S+codex 0\.169\.0 +the default agent$/m);
    expect(stdout).toMatch(/^pi +not found on PATH; npm install --global @mariozechner\/pi-coding-agent/m);
    expect(readFileSync(join(dir, "config.yaml"), "utf8")).toContain("\ndefaultAgent: codex\n");
  });
});
