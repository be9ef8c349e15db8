import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { adapterFor } from "./adapters.ts";
import type { Adapter, AgentRequest } from "./agent.ts";
import {
  type CliFacts,
  capabilitiesOf,
  flagsToTry,
  incompatibility,
  type Probing,
  readHelp,
  readVersion,
  refusedFlags,
} from "./cli-facts.ts";

const recorded = {
  claude: "claude-2.1.197",
  codex: "codex-exec-0.169.0",
  pi: "pi-0.73.1",
  gemini: "gemini-0.61.0",
  copilot: "copilot-1.0.102",
  opencode: "opencode-run-1.18.33",
};
type Cli = keyof typeof recorded;

const help = (cli: Cli) => readFileSync(new URL(`fixtures/help/${recorded[cli]}.txt`, import.meta.url), "utf8");
const id = "11111111-2222-4333-8444-555555555555";

/** A CLI as its recorded help shows it, with flags taken away and added. */
function facts(cli: Cli, version: string, change: { without?: string[]; with?: string[]; tried?: CliFacts["tried"] } = {}): CliFacts {
  const flags = readHelp(help(cli));
  for (const flag of change.without ?? []) delete flags[flag];
  for (const flag of change.with ?? []) flags[flag] = "";
  return { version, flags, tried: change.tried ?? (cli === "claude" ? { "--max-turns": true } : {}) };
}

function probed(cli: Cli): { adapter: Adapter; probing: Probing } {
  const adapter = adapterFor(cli, cli);
  if (adapter.probing === null) throw new Error(`${cli} is not probed`);
  return { adapter, probing: adapter.probing };
}

function run(cli: Cli, found: CliFacts | undefined, changes: Partial<AgentRequest> = {}) {
  const request: AgentRequest = {
    ...{ command: cli, cwd: "/tree", session: { kind: "new", id }, readOnly: false, defaultArgs: [], runDir: "/run/7", isRoot: false },
    ...(found === undefined ? {} : { cli: found }),
    ...changes,
  };
  return probed(cli).adapter.command(request);
}

describe("help texts", () => {
  it("name flags and commands with what is said of them; what a description mentions is none", () => {
    const claude = readHelp(help("claude"));
    expect(claude["--allowed-tools"]).toContain("Comma or space-separated list of tool names to allow");
    expect([claude["-p"], claude["--output-format"]?.includes("stream-json")]).toEqual([claude["--print"], true]);
    // Mentioned by --bare, at the beginning of a line.
    expect(claude["--append-system-prompt"]).toContain("Append a system prompt to the default");
    const codex = readHelp(help("codex"));
    expect(codex["-s"]).toContain("[possible values: read-only, workspace-write, danger-full-access]");
    expect(codex.resume).toContain("Resume a previous session");
    const pi = readHelp(help("pi"));
    expect([pi["-nt"], pi["--mode"]]).toEqual([
      "--no-tools, -nt Disable all tools by default (built-in and extension)",
      "--mode <mode> Output mode: text (default), json, or rpc",
    ]);
    expect(readHelp("Usage: x\n\nnothing here")).toEqual({});
  });

  it.each([
    ["2.1.197 (Claude Code)", "2.1.197"],
    ["codex-cli 0.169.0", "0.169.0"],
    ["0.120.0-alpha.3", "0.120.0-alpha.3"],
    ["1.0", "1.0"],
    ["Usage: agent", null],
  ])("the version in %j is %j", (said, version) => expect(readVersion(said)).toBe(version));

  it("which flags were refused is read from what each CLI says", () => {
    const flags = ["--a-flag", "--b"];
    expect(refusedFlags("error: unknown option '--b'\n(Did you mean --a-flag?)", flags)).toEqual(["--b"]);
    expect(refusedFlags("error: unexpected argument '--orchestrator-probe' found\n\n  tip: to pass '--b' …", flags)).toEqual([]);
    expect(refusedFlags("Error: Unknown options: --b, --orchestrator-probe", flags)).toEqual(["--b"]);
    expect(refusedFlags("Input must be provided", flags)).toBeUndefined();
  });
});

describe.each(Object.keys(recorded) as Cli[])("the recorded %s", (cli) => {
  it("has all that the adapter declares, and gets the argv of an unprobed one", () => {
    const { adapter, probing } = probed(cli);
    const found = facts(cli, probing.tested);
    expect(capabilitiesOf(adapter.capabilities, probing, found)).toEqual(adapter.capabilities);
    expect(incompatibility(cli, probing, found, adapter.suggestedArgs)).toBeUndefined();
    expect(flagsToTry(probing, { ...found, tried: {} }, adapter.suggestedArgs)).toEqual(probing.unlisted);
    const changes: Partial<AgentRequest>[] = [
      { defaultArgs: adapter.suggestedArgs },
      { readOnly: true, model: "m", maxTurns: 3, allowedTools: ["Read", "Bash(git diff *)"] },
      { session: { kind: "resume", session: { id, provider: cli, path: "/run/6/s.jsonl" } } },
      { session: { kind: "resume", session: { id: "ses_1", provider: cli } } },
      { effort: "high", outputSchema: {}, mcpServers: { x: { command: "x", args: [], env: {} } } },
    ];
    for (const change of changes) expect(run(cli, found, change)).toEqual(run(cli, undefined, change));
  });
});

describe("codex releases (0.120, 0.133 and 0.153 derived from the help of 0.169 by what is known of their flags)", () => {
  const newer = ["--trust", "--thread-source", "--cyber-access-program", "--worktree"];
  const releases: [string, CliFacts][] = [
    ["0.120.0", facts("codex", "0.120.0", { without: [...newer, "--approve-for-me", "--ignore-rules"], with: ["--full-auto"] })],
    ["0.133.0", facts("codex", "0.133.0", { without: [...newer, "--approve-for-me"], with: ["--full-auto"] })],
    ["0.153.0", facts("codex", "0.153.0", { without: newer })],
    ["0.169.0", facts("codex", "0.169.0")],
  ];

  it.each(releases)("%s gets nothing that it would refuse, whatever older configurations say", (_, found) => {
    const { argv } = run("codex", found, { defaultArgs: ["--full-auto", "-a", "never"], model: "m" });
    expect(argv.filter((arg) => /^--?[A-Za-z]/.test(arg) && found.flags[arg] === undefined)).toEqual([]);
    expect(argv.slice(0, 5)).toEqual(["codex", "exec", "--json", "-s", "workspace-write"]);
  });

  it("a flag that came later is left out of defaultArgs with a note, one that limits the agent is not", () => {
    const { probing } = probed("codex");
    const old = facts("codex", "0.133.0", {
      without: ["--approve-for-me", "--ignore-rules"],
      tried: { "--approve-for-me": false, "--ignore-rules": false },
    });
    expect(run("codex", old, { defaultArgs: ["--approve-for-me"] }).notes).toEqual([
      "`--approve-for-me` of defaultArgs is unknown to codex 0.133.0; it was left out",
    ]);
    expect(incompatibility("codex", probing, old, ["--approve-for-me"])).toBeUndefined();
    expect(incompatibility("codex", probing, old, ["--ignore-rules"])).toEqual({
      message:
        "codex 0.133.0 is incompatible with its configuration: defaultArgs hold --ignore-rules, which limits the agent, and it does not know that flag",
      hint: "take --ignore-rules out of defaultArgs, or install a release that has it (npm install --global @openai/codex@0.169.0 is the tested one), or give the work to another agent",
    });
  });

  it("one without a session to resume, or without a flag for the model, goes on without", () => {
    const old = facts("codex", "0.20.0", { without: ["resume", "-m", "--model"] });
    const session: AgentRequest["session"] = { kind: "resume", session: { id, provider: "codex" } };
    const { argv, notes } = run("codex", old, { session, model: "m" });
    expect([argv.includes("resume"), argv.includes("m"), argv.at(-1)]).toEqual([false, false, "-"]);
    expect(notes).toEqual(["codex 0.20.0 has no -m: model has no effect", "codex 0.20.0 has no resume: it starts a new session"]);
  });
});

describe("claude releases (others than 2.1.197 derived from its help by what is known of their flags)", () => {
  const prompts = ["--permission-prompts", "none"];

  it("2.1.259 keeps a flag that 2.1.197 does not know and goes without", () => {
    const later = facts("claude", "2.1.259", { with: ["--permission-prompts"] });
    const tested = facts("claude", "2.1.197", { tried: { "--max-turns": true, "--permission-prompts": false } });
    expect(run("claude", later, { defaultArgs: prompts }).argv.slice(-2)).toEqual(prompts);
    expect(run("claude", tested, { defaultArgs: prompts })).toMatchObject({
      argv: run("claude", tested).argv,
      notes: ["`--permission-prompts none` of defaultArgs is unknown to claude 2.1.197; it was left out"],
    });
  });

  it("one without flags for features goes on without them, and says what follows", () => {
    const without = ["--tools", "--disallowedTools", "--model", "--session-id", "--setting-sources", "--strict-mcp-config"];
    const old = facts("claude", "1.0.30", { without, tried: { "--max-turns": false } });
    const { argv, notes } = run("claude", old, { readOnly: true, model: "m", maxTurns: 3, allowedTools: ["Read"] });
    expect(argv).toEqual(["claude", "-p", "--output-format", "stream-json", "--verbose"]);
    expect(notes).toEqual([
      "claude 1.0.30 has no --session-id: its session is known only once it runs",
      "claude 1.0.30 has no --setting-sources: hooks of the repository's .claude/settings.json run",
      "claude 1.0.30 has no --strict-mcp-config: servers of the repository's .mcp.json are started",
      "claude 1.0.30 has no --disallowedTools: its editing tools are not taken away; what it changes is found afterwards",
      "claude 1.0.30 has no --tools: allowedTools has no effect",
      "claude 1.0.30 has no --model: model has no effect",
      "claude 1.0.30 has no --max-turns: maxTurns has no effect",
    ]);
    const { adapter, probing } = probed("claude");
    expect(capabilitiesOf(adapter.capabilities, probing, old)).toEqual({
      ...adapter.capabilities,
      ...{ sessionId: "read", model: false, maxTurns: false, allowedTools: false, readOnly: false },
    });
  });

  it("one that has no such stream any more is incompatible", () => {
    const { probing } = probed("claude");
    const next = facts("claude", "3.0.0");
    next.flags["--output-format"] = "--output-format <format> (choices: text, json, events)";
    expect(incompatibility("claude", probing, next, [])).toEqual({
      message:
        "claude 3.0.0 is incompatible with orchestrator: it does not offer --output-format stream-json, and a run needs that to be started without a person and to be read",
      hint: "install a release that has it (npm install --global @anthropic-ai/claude-code@2.1.197 is the tested one), or give the work to another agent",
    });
    expect(incompatibility("claude", probing, undefined, [])).toBeUndefined();
  });
});
