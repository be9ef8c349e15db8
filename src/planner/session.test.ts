import { existsSync, mkdirSync, readdirSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { loadConfig } from "../inputs/config.ts";
import { testHome } from "../testing/home.ts";
import { mayRead } from "./readable.ts";
import { repoTools } from "./repo-tools.ts";
import { openSession, type SessionChoice } from "./session.ts";
import { runTool } from "./tools.ts";

const choice: SessionChoice = { isInteractive: true, isApproved: false, listsSkills: false };

function open(home: ReturnType<typeof testHome>, more: Partial<SessionChoice> = {}, cwd = home.repo) {
  const { config } = loadConfig({ env: home.env, cwd });
  const session = openSession({ ...choice, ...more }, { config, env: home.env, cwd, by: "test" });
  onTestFinished(() => session.dispose());
  return { ...session, config };
}

describe("openSession", () => {
  it("gives programs an environment that leads to what is really there", () => {
    const home = testHome();
    const { env, config, prompt, repositories, dispose } = open(home, { workflow: "local", worktreeRoot: "../trees", repo: "." });
    expect(env).toMatchObject({
      ORCHESTRATOR_MODE: "plan",
      ORCHESTRATOR_STATE_DIR: config.stateDir,
      ORCHESTRATOR_CONFIG_PATH: config.file,
      ORCHESTRATOR_REPO: home.repo,
      ORCHESTRATOR_WORKFLOW: "local",
      ORCHESTRATOR_WORKTREE_ROOT: join(home.dir, "trees"),
    });
    expect(readdirSync(env.ORCHESTRATOR_WORKFLOW_DIR ?? "")).toContain("local.yaml");
    expect(readdirSync(env.ORCHESTRATOR_PROMPT_DIR ?? "")).toContain("planner.md");
    expect(repositories).toEqual([home.repo]);
    expect(prompt).toContain("`local`");
    dispose();
  });

  it("joins the user's own files with those of the program, the user's first", () => {
    const home = testHome();
    home.writeWorkflow("standard.yaml", "name: mine\n");
    home.writeWorkflow("own.yaml", "name: own\n");
    const { env, dispose } = open(home);
    const dir = env.ORCHESTRATOR_WORKFLOW_DIR ?? "";
    expect(readdirSync(dir)).toEqual(expect.arrayContaining(["own.yaml", "standard.yaml", "local.yaml"]));
    expect(realpathSync(join(dir, "standard.yaml"))).toBe(join(home.home, "workflows/standard.yaml"));
    dispose();
    expect(existsSync(dir)).toBe(false);
  });

  it("starts in a workspace and finds its repositories", () => {
    const home = testHome();
    mkdirSync(join(home.dir, "work/other/.git"), { recursive: true });
    writeFileSync(join(home.dir, "work/other/.git/HEAD"), "ref: refs/heads/main\n");
    const { prompt, repositories, env } = open(home, {}, home.dir);
    expect(repositories).toEqual([home.repo, join(home.dir, "work/other")]);
    expect(prompt).toContain(`- \`${home.repo}\``);
    expect(env.ORCHESTRATOR_REPO).toBe(home.dir);
  });

  it("P12 reads nothing that is hidden in a workspace, but in its repositories", async () => {
    const home = testHome({ files: { ".github/ci.yml": "the word\n" } });
    mkdirSync(join(home.dir, ".aws"));
    for (const path of [".aws/credentials", ".env", "notes.md", "home/.secret"]) writeFileSync(join(home.dir, path), "the word\n");
    const { bench, readable } = open(home, {}, home.dir);
    const [, search] = repoTools(readable);
    expect(search && (await runTool(search, { text: "the word" }, bench))).toEqual({
      ok: true,
      text: "notes.md:1: the word\nrepo/.github/ci.yml:1: the word",
    });
    const asked = [".aws/credentials", ".env", "home/.secret", "notes.md", "repo/.github/ci.yml", "home/state/plans", ".."];
    expect(asked.map((path) => mayRead(readable, join(home.dir, path)))).toEqual([false, false, false, true, true, true, false]);
  });

  it("starts in a worktree for the repository that it belongs to", () => {
    const home = testHome();
    const worktree = join(home.dir, "trees/one");
    home.git("worktree", "add", "-q", worktree);
    mkdirSync(join(worktree, "src"));
    const { repositories, readable } = open(home, {}, join(worktree, "src"));
    expect(repositories).toEqual([home.repo]);
    expect(mayRead(readable, join(worktree, "src/new.ts"))).toBe(true);
  });

  it("refuses what is not there, with what there is", () => {
    const home = testHome();
    expect(() => open(home, { repo: "../nowhere" })).toThrow(/is not in a git repository/);
    expect(() => open(home, { workflow: "locla" })).toThrow(/There is no workflow "locla" \(did you mean "local"\?\)/);
    expect(() => open(home, { role: "nobody" })).toThrow(/There is no role "nobody"/);
  });
});

describe("repoTools", () => {
  it("P12 find and search within the folders of the session, and do not follow links out of them", async () => {
    const home = testHome({
      files: { "src/a.ts": "const login = 1;\n", "src/deep/b.test.ts": "LOGIN\n", "node_modules/x/c.ts": "login\n" },
    });
    writeFileSync(join(home.dir, "secret.txt"), "login\n");
    symlinkSync(home.dir, join(home.repo, "out"));
    const { bench } = open(home);
    const [find, search] = repoTools({ folders: [home.repo] });
    const use = (tool: typeof find, input: unknown) => (tool ? runTool(tool, input, bench) : undefined);
    expect(await use(find, { glob: "*.ts" })).toEqual({ ok: true, text: "src/a.ts\nsrc/deep/b.test.ts" });
    expect(await use(find, { glob: "src/*.ts" })).toEqual({ ok: true, text: "src/a.ts" });
    expect(await use(search, { text: "login" })).toEqual({ ok: true, text: "src/a.ts:1: const login = 1;" });
    expect(await use(search, { text: "login", ignoreCase: true, glob: "**/*.test.ts" })).toEqual({
      ok: true,
      text: "src/deep/b.test.ts:1: LOGIN",
    });
    for (const folder of ["..", "out", home.dir]) expect(await use(search, { text: "login", folder })).toMatchObject({ ok: false });
  });
});
