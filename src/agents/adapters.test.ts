import { describe, expect, it } from "vitest";
import { adapterFor } from "./adapters.ts";
import type { AgentRequest } from "./agent.ts";

const id = "11111111-2222-4333-8444-555555555555";

function request(changes: Partial<AgentRequest> & { command: string }): AgentRequest {
  return { cwd: "/tree", session: { kind: "new", id }, readOnly: false, defaultArgs: [], runDir: "/run/7", isRoot: false, ...changes };
}

function run(changes: Partial<AgentRequest> & { command: string }) {
  return adapterFor(changes.command, changes.command).command(request(changes));
}

const again = (sessionId: string, path?: string): AgentRequest["session"] => ({
  kind: "resume",
  session: { id: sessionId, provider: "any", ...(path === undefined ? {} : { path }) },
});

describe("where a conversation lies", () => {
  const where = (command: string, env: Record<string, string>, path?: string) =>
    adapterFor(command, command).transcript?.({ id, provider: command, ...(path === undefined ? {} : { path }) }, env);

  it("is below the folder of each CLI, wherever that is set to be", () => {
    const glob = `*/${id}.jsonl`;
    expect(where("claude", { HOME: "/h" })).toEqual({ dir: "/h/.claude/projects", glob });
    expect(where("claude", { HOME: "/h", CLAUDE_CONFIG_DIR: "/c" })).toEqual({ dir: "/c/projects", glob });
    const rollout = `*/*/*/rollout-*-${id}.jsonl`;
    expect(where("codex", { HOME: "/h" })).toEqual({ dir: "/h/.codex/sessions", glob: rollout });
    expect(where("codex", { CODEX_HOME: "/x" })).toEqual({ dir: "/x/sessions", glob: rollout });
    expect(where("pi", {}, "/run/7/pi-session.jsonl")).toEqual({ dir: "/run/7", glob: "pi-session.jsonl" });
  });

  it("is unknown where nobody can tell", () => {
    expect([where("claude", {}), where("codex", {}), where("pi", {}), where("other", {})]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });
});

describe("adapterFor", () => {
  it("goes by the file name of the command", () => {
    const commands = ["claude", "/opt/bin/codex", "node_modules/.bin/pi.cmd", "./claude.ts", "gemini", "my-agent", "claude-wrapper"];
    expect(commands.map((command) => adapterFor(command, "x").provider)).toEqual([
      ...["claude", "codex", "pi", "claude", "gemini", "generic", "generic"],
    ]);
  });
});

describe("claude", () => {
  const skip = ["--dangerously-skip-permissions"];
  const start = ["claude", "-p", "--output-format", "stream-json", "--verbose"];
  const closed = ["--setting-sources", "user", "--strict-mcp-config"];

  it("what a run may cost becomes its own limit, unless the configuration has a lower one", () => {
    const tail = (maxUsd: number, ...defaultArgs: string[]) =>
      run({ command: "claude", defaultArgs, maxUsd }).argv.slice(start.length + 2 + closed.length);
    expect(tail(0.4)).toEqual(["--max-budget-usd", "0.4"]);
    expect(tail(0.000_01)).toEqual(["--max-budget-usd", "0.0001"]);
    expect(tail(0.4, "--max-budget-usd", "0.2")).toEqual(["--max-budget-usd", "0.2"]);
    expect(tail(0.4, "--max-budget-usd", "2")).toEqual(["--max-budget-usd", "2", "--max-budget-usd", "0.4"]);
  });

  it("a new session as root", () => {
    expect(run({ command: "claude", defaultArgs: skip, model: "opus", maxTurns: 30, isRoot: true })).toEqual({
      argv: [...start, "--session-id", id, ...closed, ...skip, "--model", "opus", "--max-turns", "30"],
      env: { DISABLE_AUTOUPDATER: "1", CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1", CLAUDE_CODE_MAX_RETRIES: "3", IS_SANDBOX: "1" },
      files: {},
      stdout: "file",
      stop: { signal: "SIGINT", graceMs: 5000 },
      stdinPrefix: "\n",
      notes: [],
    });
  });

  it("a resumed session; an id that is none of claude's starts a new one", () => {
    expect(run({ command: "claude", session: again(id) }).argv).toEqual([...start, "--resume", id, ...closed]);
    const odd = run({ command: "claude", session: again("my-title") });
    expect([odd.argv, odd.notes]).toEqual([[...start, ...closed], ['"my-title" is no session id of claude; it starts a new session']]);
  });

  it("a read-only phase has no editing tools", () => {
    expect(run({ command: "claude", defaultArgs: skip, readOnly: true }).argv.slice(-4)).toEqual([
      "--disallowedTools",
      "Edit",
      "Write",
      "NotebookEdit",
    ]);
  });

  it("allowedTools takes the other tools away; a pattern ends the skipping of permissions", () => {
    const argv = (allowedTools: string[]) => run({ command: "claude", defaultArgs: skip, allowedTools }).argv.slice(start.length + 5);
    expect(argv(["Read", "Bash"])).toEqual([...skip, "--tools", "Read,Bash", "--allowedTools", "Read", "Bash"]);
    expect(argv(["Read", "Bash(git diff *)", "Bash(git log *)", "mcp__x__y"])).toEqual([
      ...["--permission-mode", "dontAsk", "--tools", "Read,Bash"],
      ...["--allowedTools", "Read", "Bash(git diff *)", "Bash(git log *)", "mcp__x__y"],
    ]);
    expect(argv([])).toEqual([...skip, "--tools", ""]);
  });

  it("arguments that the runner sets itself are left out and reported", () => {
    const { argv, notes } = run({ command: "claude", defaultArgs: [...skip, "--output-format", "text", "--setting-sources=user,project"] });
    expect(argv).toEqual([...start, "--session-id", id, "--strict-mcp-config", ...skip, "--setting-sources=user,project"]);
    expect(notes).toEqual(["`--output-format text` of defaultArgs is set by the runner itself; it was left out"]);
  });

  it("opens in the worktree", () => {
    const open = (session: string) =>
      adapterFor("claude", "c").interactive({ id: session, provider: "claude" }, { command: "claude", cwd: "/tree" });
    expect([open(id), open("-x")]).toEqual([{ argv: ["claude", "--resume", id], cwd: "/tree" }, null]);
  });
});

describe("codex", () => {
  const quiet = ["analytics.enabled=false", "check_for_update_on_startup=false", "features.plugins=false", "features.apps=false"];
  const place = ["-C", "/tree", "--skip-git-repo-check", ...quiet.flatMap((setting) => ["-c", setting])];
  const sandbox = ["-s", "workspace-write", "-c", "sandbox_workspace_write.network_access=true"];

  it("a resumed session has its flags before the word resume", () => {
    expect(run({ command: "codex", session: again(id), model: "gpt-x", maxTurns: 5, allowedTools: ["Read"] })).toEqual({
      argv: ["codex", "exec", "--json", ...sandbox, ...place, "-m", "gpt-x", "resume", id, "-"],
      env: {},
      files: {},
      stdout: "pump",
      stop: { signal: "SIGINT", graceMs: 5000 },
      stdinPrefix: "",
      notes: [
        "codex has no limit on turns; maxTurns has no effect",
        "codex cannot be limited to certain tools; allowedTools has no effect",
      ],
    });
  });

  it("a configured sandbox is kept, except in a read-only phase", () => {
    const bypass = ["--dangerously-bypass-approvals-and-sandbox"];
    expect(run({ command: "codex", defaultArgs: bypass }).argv).toEqual(["codex", "exec", "--json", ...place, ...bypass, "-"]);
    const readOnly = run({ command: "codex", defaultArgs: [...bypass, "-s", "workspace-write"], readOnly: true });
    expect(readOnly.argv).toEqual(["codex", "exec", "--json", "-s", "read-only", ...place, "-"]);
    expect(readOnly.notes).toHaveLength(2);
  });

  it("trust in the repository does not reach its .codex, unless it is configured to", () => {
    const start = ["codex", "exec", "--json", ...sandbox, ...place];
    expect(run({ command: "codex", repoSettings: [".codex"] })).toMatchObject({
      argv: [...start, "-c", 'projects={"/tree"={trust_level="untrusted"}}', "-"],
      notes: ['codex does not read the repository\'s .codex, nor its AGENTS.md; "-c", "projects={}" in defaultArgs lets it'],
    });
    const trusting = run({ command: "codex", repoSettings: [".codex"], defaultArgs: ["-c", "projects={}"] });
    expect([trusting.argv, trusting.notes]).toEqual([[...start, "-c", "projects={}", "-"], []]);
  });

  it.each([
    [["--approval-mode", "never"], "--approval-mode never"],
    [["--approval-mode=never"], "--approval-mode=never"],
    [["--approval-mode never"], "--approval-mode never"],
    [["--full-auto"], "--full-auto"],
    [["-a", "never"], "-a never"],
  ])("%j of older configurations is reported and does not stop the run", (defaultArgs, text) => {
    expect(run({ command: "codex", defaultArgs }).argv).toEqual(["codex", "exec", "--json", ...sandbox, ...place, "-"]);
    const problems = adapterFor("codex", "codex").configProblems(defaultArgs);
    expect(problems).toHaveLength(1);
    expect(problems[0]?.message).toContain(`\`${text}\``);
    expect(problems[0]?.hint).toBe('write defaultArgs: ["-s", "workspace-write"], or leave it empty: that is the default');
  });

  it("an option and its value in one argument is a problem", () => {
    expect(adapterFor("codex", "codex").configProblems(["-m gpt-x"])).toEqual([
      {
        message: "`-m gpt-x` is passed as one single argument, which no option is called",
        hint: 'write defaultArgs: ["-m","gpt-x"]',
      },
    ]);
  });

  it("does not resume what it would silently replace", () => {
    expect(run({ command: "codex", session: again("title") }).notes).toEqual([
      '"title" is no session id of codex; it starts a new session',
    ]);
  });
});

describe("pi", () => {
  const start = ["pi", "-p", "--mode", "json", "--session"];

  it("keeps its session in the run's folder and finds it again by path", () => {
    expect(run({ command: "pi", model: "anthropic/x" })).toEqual({
      argv: [...start, "/run/7/pi-session.jsonl", "-ne", "--model", "anthropic/x"],
      env: { PI_OFFLINE: "1", PI_TELEMETRY: "0" },
      files: {},
      stdout: "pump",
      stop: { signal: "SIGTERM", graceMs: 5000 },
      stdinPrefix: "",
      notes: [],
    });
    expect(run({ command: "pi", session: again(id, "/run/6/pi-session.jsonl") }).argv).toEqual([
      ...start,
      "/run/6/pi-session.jsonl",
      "-ne",
    ]);
  });

  it("translates tools; what it cannot allow it goes without", () => {
    const tools = (changes: Partial<AgentRequest>) => run({ command: "pi", defaultArgs: ["--tools", "read"], ...changes }).argv.slice(7);
    expect(tools({})).toEqual(["--tools", "read"]);
    expect(tools({ allowedTools: ["Read", "Glob", "Bash(git diff *)"] })).toEqual(["--tools", "read,find"]);
    expect(tools({ allowedTools: ["Edit", "Read"], readOnly: true })).toEqual(["--tools", "read"]);
    expect(tools({ readOnly: true })).toEqual(["--tools", "read,bash,grep,find,ls"]);
    expect(tools({ allowedTools: ["WebFetch"] })).toEqual(["--no-tools"]);
  });
});

describe("gemini", () => {
  const start = ["gemini", "--output-format", "stream-json", "--approval-mode", "yolo", "--skip-trust"];
  const closed = { hooksConfig: { enabled: false }, mcp: { allowed: ["-"] }, tools: { discoveryCommand: "", callCommand: "" } };
  const general = { enableAutoUpdate: false, enableAutoUpdateNotification: false, maxAttempts: 3 };
  const settings = (changes: Partial<AgentRequest>) =>
    JSON.parse(run({ command: "gemini", isRootOnly: true, ...changes }).files["private/gemini-settings.json"] ?? "");

  it("as root its settings keep the repository from running anything, unless it is trusted", () => {
    expect(run({ command: "gemini", isRootOnly: true, repoSettings: [".gemini"] })).toMatchObject({
      argv: [...start, "--extensions", "none", "--session-id", id],
      env: { GEMINI_CLI_NO_RELAUNCH: "true", GEMINI_CLI_SYSTEM_SETTINGS_PATH: "/run/7/private/gemini-settings.json" },
      stop: { signal: "SIGTERM", graceMs: 5000 },
      stdinPrefix: "\n",
      notes: [],
    });
    expect(settings({ maxTurns: 3 })).toEqual({ general, ...closed, mcpServers: {}, model: { maxSessionTurns: 3 } });
    expect(settings({ isTrusted: true })).toEqual({ general, mcpServers: {} });
  });

  it("others are refused in a repository with settings, and told what has no effect", () => {
    expect(run({ command: "gemini", repoSettings: [".gemini"] }).refusal).toContain(
      "gemini would run what the repository's .gemini may name",
    );
    const trusted = run({ command: "gemini", repoSettings: [".gemini"], isTrusted: true });
    expect([trusted.refusal, trusted.argv]).toEqual([undefined, [...start, "--session-id", id]]);
    expect(run({ command: "gemini" }).refusal).toBeUndefined();
  });

  it("limits on tools are rules, also those with a pattern", () => {
    const limited = run({ command: "gemini", readOnly: true, allowedTools: ["Read", "Bash(git diff *)", "mcp__x__y", "Read(src/*)"] });
    expect(limited.argv.slice(-2)).toEqual(["--policy", "/run/7/private/gemini-policy.toml"]);
    expect(limited.files["private/gemini-policy.toml"]?.split("\n\n")).toEqual([
      '[[rule]]\ntoolName = ["replace", "write_file"]\ndecision = "deny"\npriority = 950',
      '[[rule]]\ntoolName = "*"\ndecision = "deny"\npriority = 800',
      '[[rule]]\ntoolName = "read_file"\ndecision = "allow"\npriority = 900',
      '[[rule]]\ntoolName = "run_shell_command"\ncommandPrefix = "git diff"\ndecision = "allow"\npriority = 900',
      '[[rule]]\nmcpName = "x"\ntoolName = "y"\ndecision = "allow"\npriority = 900\n',
    ]);
    expect(limited.notes).toEqual(['gemini cannot allow "Read(src/*)"; the agent goes without it']);
  });
});

describe("copilot", () => {
  const start = ["copilot", "--output-format", "json", "--allow-all-tools", "--no-ask-user", "--no-auto-update", "--no-color"];
  const usage = ["--usage-output-file", "/run/7/copilot-usage.json"];

  it("trusts no repository by itself, and resumes under the same id", () => {
    expect(run({ command: "copilot" }).argv).toEqual([...start, "--session-id", id, ...usage]);
    expect(run({ command: "copilot", isTrusted: true }).argv).toEqual([...start, "--trust-folder", "--session-id", id, ...usage]);
    expect(run({ command: "copilot", session: again(id), maxTurns: 2 })).toMatchObject({
      argv: [...start, `--resume=${id}`, ...usage],
      notes: ["copilot has no limit on turns; maxTurns has no effect"],
    });
  });

  it("has the tools that are named, and none that edits in a read-only phase", () => {
    const limited = run({ command: "copilot", readOnly: true, allowedTools: ["Read", "Grep", "mcp__x", "Bash(git *)"] });
    expect([limited.argv.slice(-2), limited.notes]).toEqual([
      ["--available-tools=view,grep,x", "--deny-tool=write"],
      ['copilot cannot allow "Bash(git *)"; the agent goes without it'],
    ]);
  });
});

describe("opencode", () => {
  const start = ["opencode", "run", "--format", "json", "--print-logs", "--log-level", "ERROR"];
  const permission = (changes: Partial<AgentRequest>) => JSON.parse(run({ command: "opencode", ...changes }).env.OPENCODE_PERMISSION ?? "");

  it("resumes what is a session of its own, and starts anew otherwise", () => {
    expect(run({ command: "opencode", session: again("ses_1Ab") }).argv).toEqual([...start, "--session", "ses_1Ab"]);
    const odd = run({ command: "opencode", session: again(id) });
    expect([odd.argv, odd.notes]).toEqual([start, [`"${id}" is no session id of opencode; it starts a new session`]]);
  });

  it("is refused where the repository has plugins or may name some, unless it is trusted", () => {
    const repoSettings = ["opencode.json"];
    expect(run({ command: "opencode", repoSettings }).refusal).toContain("opencode would run what the repository's opencode.json may name");
    expect(run({ command: "opencode", repoSettings, isTrusted: true }).refusal).toBeUndefined();
  });

  it("everything is allowed but what is not", () => {
    expect(permission({})).toEqual({ "*": "allow" });
    expect(permission({ readOnly: true })).toEqual({ "*": "allow", edit: "deny" });
    expect(permission({ allowedTools: ["Read", "Bash(git diff *)", "Bash(git log *)", "mcp__x", "Odd"] })).toEqual({
      "*": "deny",
      read: "allow",
      bash: { "*": "deny", "git diff *": "allow", "git log *": "allow" },
      "x_*": "allow",
    });
  });
});

describe("trustRepository", () => {
  it("lifts what keeps claude, codex and pi from code of the repository", () => {
    expect(run({ command: "claude", isTrusted: true }).argv).toEqual([
      ...["claude", "-p", "--output-format", "stream-json", "--verbose", "--session-id", id],
    ]);
    const codex = run({ command: "codex", isTrusted: true, repoSettings: [".codex"] });
    expect([codex.argv.filter((arg) => arg.startsWith("projects")), codex.notes]).toEqual([[], []]);
    expect(run({ command: "pi", isTrusted: true }).argv).not.toContain("-ne");
  });
});

describe("effort and outputSchema", () => {
  const outputSchema = { type: "object" };
  const args = (command: string, changes: Partial<AgentRequest> = { effort: "high", outputSchema }) => {
    const { argv, files, notes } = run({ command, ...changes });
    const plain = run({ command }).argv;
    return { more: argv.filter((arg) => !plain.includes(arg)), files: Object.keys(files), notes };
  };

  it("claude and codex take both", () => {
    expect(args("claude")).toEqual({ more: ["--effort", "high", "--json-schema", '{"type":"object"}'], files: [], notes: [] });
    expect(args("codex")).toEqual({
      more: ['model_reasoning_effort="high"', "--output-schema", "/run/7/private/output-schema.json"],
      files: ["private/output-schema.json"],
      notes: [],
    });
    expect(run({ command: "codex", outputSchema }).files["private/output-schema.json"]).toBe('{\n  "type": "object"\n}\n');
  });

  it("the others take an effort at most, and say so", () => {
    const note = (who: string) => `${who} takes no outputSchema: its prompt asks for it, and its final message is checked`;
    expect(args("pi")).toEqual({ more: ["--thinking", "high"], files: [], notes: [note("pi")] });
    expect(args("copilot")).toEqual({ more: ["--reasoning-effort", "high"], files: [], notes: [note("copilot")] });
    expect(args("opencode")).toMatchObject({ more: ["--variant", "high"], notes: [note("opencode")] });
    expect(args("gemini")).toMatchObject({ more: [], notes: ["gemini has no setting for effort; it has no effect", note("gemini")] });
    expect(args("mine")).toEqual({
      more: [],
      files: [],
      notes: ['agent "mine" is not one we know how to tell about effort; it has no effect there', note('agent "mine"')],
    });
  });
});

describe("any other program", () => {
  it("gets its arguments and the prompt on stdin, nothing else", () => {
    const { argv, notes } = run({ command: "my-agent", defaultArgs: ["--fast"], model: "m", readOnly: true });
    expect(argv).toEqual(["my-agent", "--fast"]);
    expect(notes).toEqual([
      'agent "my-agent" is not one we know how to tell about model; it has no effect there',
      'agent "my-agent" is not one we know how to tell about readOnly; it has no effect there',
    ]);
  });
});
