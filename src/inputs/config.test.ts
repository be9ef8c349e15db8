// biome-ignore-all lint/suspicious/noTemplateCurlyInString: this is how the configuration refers to the environment
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { UserError } from "../domain/errors.ts";
import { tempDir } from "../testing/temp.ts";
import { bundledAssets } from "./assets.ts";
import { configTemplate, defaultHome, loadConfig, resolveEnvReferences } from "./config.ts";

const least = "defaultAgent: claude\nagents: {claude: {command: claude}}\n";

function write(file: string, text = least): string {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  return file;
}

function load(text: string) {
  const file = write(join(tempDir(), "config.yaml"), text);
  return { file, ...loadConfig({ explicit: file, env: { HOME: dirname(file) }, cwd: "/" }) };
}

function failure(action: () => unknown): UserError {
  try {
    action();
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

it("P9 an agent that is to stand in has to be one", () => {
  const text = "defaultAgent: claude\nagents:\n  claude: { command: claude, fallbackAgents: [codx] }\n  codex: { command: codex }\n";
  expect(failure(() => load(text)).message).toMatch(/config.yaml:3:\d+ .*no agent is called "codx".*did you mean "codex"/is);
  expect(load(text.replace("codx", "codex")).config.agents.claude).toMatchObject({ fallbackAgents: ["codex"] });
});

describe("reactions", () => {
  const text = (reactions: string) => `defaultAgent: claude\nagents:\n  claude: { command: claude }\nreactions: { ${reactions} }\n`;

  it("are kept as they are written", () => {
    expect(load(text("usage_limit: park, stuck: switch")).config.reactions).toEqual({ usage_limit: "park", stuck: "switch" });
    expect(load(text("")).config.reactions).toEqual({});
  });

  it.each([
    [
      "test: park",
      /config.yaml:4:\d+ .*"park" is no reaction to test: only trouble of a provider parks an agent.*use one of retry, switch, fix/is,
    ],
    [
      "isolation: retry",
      /"retry" is no reaction to isolation: another run might do the same to the user's checkout again.*fix, escalate, fail/is,
    ],
    ["stuck: swich", /config.yaml:4:\d+ .*swich.*switch/is],
    ["rate_limits: park", /config.yaml:4:\d+ .*rate_limits/is],
  ])("P10 %s is refused with a word on what is possible", (reactions, message) => {
    expect(failure(() => load(text(reactions))).message).toMatch(message);
  });
});

describe("where the configuration is found", () => {
  function world() {
    const root = tempDir();
    return {
      explicit: join(root, "x", "mine.yaml"),
      override: join(root, "override", "config.yaml"),
      user: join(root, "user", ".orchestrator", "config.yaml"),
      local: join(root, "work", "orchestrator.yaml"),
      options: { env: { HOME: join(root, "user"), ORCHESTRATOR_HOME: join(root, "override") }, cwd: join(root, "work") },
    };
  }

  it("--config, then $ORCHESTRATOR_HOME, then ~/.orchestrator, then ./orchestrator.yaml", () => {
    const { options, ...files } = world();
    const found: string[] = [];
    write(files.local);
    found.push(loadConfig(options).config.file);
    write(files.user);
    found.push(loadConfig(options).config.file);
    write(files.override);
    found.push(loadConfig(options).config.file);
    write(files.explicit);
    found.push(loadConfig({ ...options, explicit: "../x/mine.yaml" }).config.file);
    expect(found).toEqual([files.local, files.user, files.override, files.explicit]);
  });

  it("nowhere: all places and `init` are named", () => {
    const { options, ...files } = world();
    const error = failure(() => loadConfig(options));
    expect([error.exit, error.hint, error.message]).toEqual([
      "notFound",
      "run: orchestrator init",
      `There is no configuration. Looked for ${files.override}, ${files.user}, ${files.local}.`,
    ]);
  });

  it("an explicit file that is missing is not replaced by another", () => {
    const { options, ...files } = world();
    write(files.user);
    const error = failure(() => loadConfig({ ...options, explicit: "nope.yaml" }));
    expect([error.exit, error.message]).toEqual(["notFound", `There is no configuration file ${join(options.cwd, "nope.yaml")}.`]);
  });

  it("an unreadable file is shown, not passed over", () => {
    const { options, ...files } = world();
    mkdirSync(files.override, { recursive: true });
    write(files.user);
    expect(failure(() => loadConfig(options)).message).toBe(`${files.override}: this is not a regular file.`);
  });

  it("the home of the program", () => {
    expect(defaultHome({ HOME: "/h" })).toBe("/h/.orchestrator");
    expect(defaultHome({ HOME: "/h", ORCHESTRATOR_HOME: "/o" })).toBe("/o");
  });
});

describe("folders", () => {
  const bundled = bundledAssets();

  it("have defaults beside the file", () => {
    const { config, file } = load(least);
    const home = dirname(file);
    expect(config).toMatchObject({
      file,
      home,
      stateDir: join(home, "state"),
      logDir: join(home, "logs"),
      worktreeRoot: join(home, "worktrees"),
      workflowDirs: [join(home, "workflows"), bundled.workflows],
      promptDirs: [join(home, "prompts"), bundled.prompts],
      scriptDirs: [join(home, "scripts"), bundled.scripts],
      skillsDirs: [join(home, "skills"), bundled.skills],
      blueprintDirs: [join(home, "blueprints"), bundled.blueprints],
    });
  });

  it("ORCHESTRATOR_HOME moves the defaults, not what the file names", () => {
    const file = write(join(tempDir(), "config.yaml"), `${least}logDir: l\n`);
    const { config } = loadConfig({ explicit: file, env: { HOME: "/h", ORCHESTRATOR_HOME: "/o" }, cwd: "/" });
    expect([config.home, config.stateDir, config.logDir]).toEqual(["/o", "/o/state", join(dirname(file), "l")]);
  });

  it.each([
    ["stateDir", (c: ReturnType<typeof load>["config"]) => c.stateDir],
    ["logDir", (c) => c.logDir],
    ["worktreeRoot", (c) => c.worktreeRoot],
    ["workflowDir", (c) => c.workflowDirs[0]],
    ["promptDir", (c) => c.promptDirs[0]],
    ["scriptDir", (c) => c.scriptDirs[0]],
    ["skillsDir", (c) => c.skillsDirs[0]],
    ["blueprintDir", (c) => c.blueprintDirs[0]],
  ] as [string, (c: ReturnType<typeof load>["config"]) => string][])("%s may be relative, absolute or below ~", (key, of) => {
    const places = ["my/dir", "../dir", "/abs/dir", "~/dir"].map((place) => {
      const { config, file } = load(`${least}${key}: ${place}\n`);
      return [of(config), dirname(file)] as const;
    });
    expect(places.map(([place]) => place)).toEqual([
      join(places[0]?.[1] ?? "", "my/dir"),
      join(places[1]?.[1] ?? "", "../dir"),
      "/abs/dir",
      join(places[3]?.[1] ?? "", "dir"),
    ]);
  });
});

describe("content", () => {
  it("the template loads without a word and holds the documented defaults", () => {
    const { config, findings } = load(configTemplate());
    expect(findings).toEqual([]);
    expect(config).toMatchObject({
      defaultAgent: "claude",
      agents: {
        claude: { command: "claude", defaultArgs: ["--dangerously-skip-permissions"], env: {} },
        codex: { command: "codex", defaultArgs: [], env: {} },
        pi: { command: "pi", defaultArgs: [], env: {} },
      },
      pollInterval: 10,
      maxConcurrency: 3,
      ghCommand: "gh",
      mcpServers: {},
    });
  });

  it("the template with every comment taken as meant loads as well", () => {
    const all = configTemplate()
      .split("\n")
      .map((line) => line.replace(/^(\s*)# (?=( {2,})?([a-zA-Z_]+:|\s+[a-zA-Z_]+:))/, "$1").replace(/ {3}# a reference.*/, ""))
      .join("\n");
    const { findings, config } = load(all);
    expect(findings).toEqual([]);
    expect(config.mcpServers).toMatchObject({ linear: { url: "https://mcp.linear.app/mcp" }, files: { command: "npx" } });
    expect(config.agents).toMatchObject({ claude: { env: { ANTHROPIC_API_KEY: "${ANTHROPIC_API_KEY}" } } });
  });

  it("unknown keys are kept, with a warning that suggests the right one", () => {
    const { config, findings, file } = load(`${least}maxConcurency: 5\nfoo: 1\n`);
    expect(findings).toEqual([
      {
        severity: "warning",
        rule: "unknown-key",
        file,
        line: 3,
        column: 1,
        field: "maxConcurency",
        message: 'unknown key "maxConcurency"',
        fix: 'did you mean "maxConcurrency"?',
      },
      expect.objectContaining({
        severity: "warning",
        line: 4,
        field: "foo",
        fix: expect.stringContaining("known keys are defaultAgent"),
      }),
    ]);
    expect(config).toMatchObject({ foo: 1, maxConcurrency: 3 });
  });

  it.each([
    ["agents: {}\n", /:1:1 {2}defaultAgent: "defaultAgent" is required/],
    ["defaultAgent: claude\n", /:1:1 {2}agents: "agents" is required/],
    [
      "defaultAgent: cluade\nagents: {claude: {command: c}, codex: {command: c}}\n",
      /:1:15 {2}defaultAgent: no agent is called "cluade" \(did you mean "claude"\?\) — fix: use one of claude, codex/,
    ],
    [`${least}maxConcurrency: 0\n`, /:3:17 {2}maxConcurrency: expected a whole number from 1 to 64, got 0/],
    [`${least}pollInterval: fast\n`, /:3:15 {2}pollInterval: expected a number from 0.05 to 3600, got string "fast"/],
    [`${least}phaseTimeoutSeconds: 2592000000\n`, /timers cannot count beyond 30 days/],
    [
      "defaultAgent: c\nagents:\n  c: {defaultArgs: x, command: 3}\n",
      /:3:20 {2}agents.c.defaultArgs: expected a list(.|\n)*:3:32 {2}agents.c.command: expected text, got 3/,
    ],
    [
      `${least}mcpServers: {m: {command: npx, env: {TOKEN: 12345}}}\n`,
      /mcpServers.m.env.TOKEN: expected text, got a number — fix: put it in quotes \[/,
    ],
    [`${least}mcpServers: {m: {args: [x]}}\n`, /mcpServers.m: neither command nor url is there/],
    [`${least}mcpServers: {m: {command: x, url: "https://a.example"}}\n`, /mcpServers.m: command and url exclude each other/],
    [`${least}mcpServers: {m: {url: "ftp://a.example"}}\n`, /mcpServers.m: url is no http\(s\) address/],
    [
      `${least}mcpServers: {m: {url: "https://a.example", headers: {Authorization: "Bearer ghp_0123456789abcdef0123"}}}\n`,
      /looks like a secret/,
    ],
    ["just text\n", /:1:1 {2}expected a mapping/],
    [`${least}\tmaxConcurrency: 3\n`, /:3:1 {2}Tabs are not allowed/],
  ])("%j is refused with its place", (text, message) => {
    const error = failure(() => load(text));
    expect(error.exit).toBe("invalid");
    expect(error.message).toMatch(message);
  });

  it.each([
    "agents: {claude: {command: claude, env: {GH_TOKEN: ghp_0123456789abcdefghij0123456789abcdef}}}",
    "agents: {claude: {command: claude, env: {ANTHROPIC_API_KEY: sk-ant-api03-0123456789abcdef}}}",
    "agents: {claude: {command: claude, defaultArgs: [--key, AKIA0123456789ABCDEF]}}",
    "agents: {claude: {command: claude}}\nmcpServers: {l: {command: npx, args: [--token, lin_api_0123456789]}}",
  ])("a secret is refused and not repeated: %s", (text) => {
    const error = failure(() => load(`defaultAgent: claude\n${text}\n`));
    expect(error.exit).toBe("invalid");
    expect(error.message).toMatch(/this looks like a secret.*\$\{[A-Z_]+\}/);
    expect(error.message).not.toMatch(/0123456789/);
  });

  it("a file that everybody may write is refused", () => {
    const file = write(join(tempDir(), "config.yaml"));
    chmodSync(file, 0o666);
    const error = failure(() => loadConfig({ explicit: file, env: {}, cwd: "/" }));
    expect([error.exit, error.hint]).toEqual(["unsafe", `chmod o-w ${file}`]);
  });
});

describe("references to the environment", () => {
  it("are replaced wherever they stand", () => {
    expect(resolveEnvReferences({ A: "${X}", B: "a${X}b${Y}", C: "$X ${} {X}" }, { X: "1", Y: "" })).toEqual({
      A: "1",
      B: "a1b",
      C: "$X ${} {X}",
    });
  });

  it("values are not read again for references", () => {
    expect(resolveEnvReferences({ A: "${X}" }, { X: "${Y}" })).toEqual({ A: "${Y}" });
  });

  it("a missing one is named", () => {
    expect(() => resolveEnvReferences({ KEY: "${NOPE}" }, {})).toThrow("The environment variable NOPE is not set; KEY refers to it.");
  });
});
