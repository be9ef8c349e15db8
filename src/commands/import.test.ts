import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type ImportOptions, importSource } from "../planner/import-source.ts";
import { readPlans } from "../planner/read-plans.ts";
import { syncSources } from "../planner/sync-sources.ts";
import type { Bench } from "../planner/tool.ts";
import { testBench } from "../testing/bench.ts";
import { runCli } from "../testing/daemon.ts";
import { type TestHome, testHome } from "../testing/home.ts";

const fixtures = join(import.meta.dirname, "..", "trackers", "fixtures");

/** What a draft is told that nobody has planned. */
const doubts = `warning: F-1, F-2: 48 characters say too little — fix: say what is wrong or missing, why, where in the code, and what was decided: whoever works it knows nothing else [thin-description]
warning: F-1, F-2: does not say which files it is to change — fix: list the globs of the files, as in src/auth/** [no-scope]
`;

const feature = (id: number, fields: object = {}) => ({
  id,
  category: "core",
  name: `Feature ${id}`,
  description: `What feature ${id} does, in the module of feature ${id}.`,
  steps: [`GET /${id} answers 200`],
  status: "open",
  ...fields,
});

function world() {
  const home = testHome();
  const file = join(home.repo, "features.json");
  const write = (features: object[]) => writeFileSync(file, JSON.stringify({ name: "Shop", features }, null, 2));
  write([feature(1), feature(2, { dependencies: [1, 3] }), feature(3, { status: "passed" })]);
  return { home, file, write };
}

/** What the command does, without its process. */
function bring(home: TestHome, source: string, options: ImportOptions = {}, more: Partial<Bench> = {}) {
  return importSource(source, options, testBench(home, { cwd: home.dir, ...more }));
}

function tell(home: TestHome, planId: string, more: Partial<Bench> = {}) {
  const bench = testBench(home, more);
  const world = readPlans(bench.config);
  const view = world.plans.get(planId);
  if (view === undefined) throw new Error(`there is no plan ${planId}`);
  return syncSources(view, { closeDone: false, dryRun: false }, bench);
}

describe("orchestrator import", () => {
  it("makes a draft of what is open, and nothing the second time", async () => {
    const { home, file } = world();
    const first = await runCli(home, "import", file);
    expect(first).toEqual({
      code: 0,
      stderr: doubts,
      stdout: `features:${file}: 2 open, 1 done, 0 dropped
  + F-1  Feature 1
  + F-2  Feature 2
Plan "core" is written, as a draft.
It waits for: orchestrator plan approve core
`,
    });
    expect(home.plan("core")).toMatchObject({
      id: "core",
      name: "Shop",
      goal: `Imported from features:${file}.`,
      status: "draft",
      repo: home.repo,
      workflow: "local",
      tickets: [
        { ticketId: "F-1", blockedBy: [] },
        { ticketId: "F-2", blockedBy: ["F-1"] },
      ],
    });
    expect(home.ticket("core", "F-2")).toMatchObject({
      title: "Feature 2",
      description: "What feature 2 does, in the module of feature 2.",
      acceptanceCriteria: ["GET /2 answers 200"],
      source: { kind: "features", id: `${file}#2` },
      status: "queued",
    });
    const second = await runCli(home, "import", file, "--json");
    expect(JSON.parse(second.stdout).data).toMatchObject({ result: "unchanged", planId: "core", added: [], changed: [] });
    expect(home.plan("core").tickets).toHaveLength(2);
  });

  it("shows what would come of it, and writes nothing", async () => {
    const { home, file } = world();
    const result = await runCli(home, "import", `features:${file}`, "--plan", "shop", "--dry-run");
    expect(result).toEqual({
      code: 0,
      stderr: doubts,
      stdout: `features:${file}: 2 open, 1 done, 0 dropped
  + F-1  Feature 1
  + F-2  Feature 2
Nothing was written: this is what it would come to.
`,
    });
    expect(existsSync(join(home.home, "state", "plans", "shop"))).toBe(false);
  });

  it("adds what is new, changes what has changed and has not begun, and takes nothing away", async () => {
    const { home, file, write } = world();
    home.writePlan({ id: "shop", name: "By hand" }, [
      { ticketId: "F-1", source: { kind: "features", id: `${file}#1` }, status: "complete" },
      { ticketId: "own", source: { kind: "features", id: `${file}#2` } },
      { ticketId: "by-hand" },
      { ticketId: "F-9", source: { kind: "features", id: `${file}#9` } },
    ]);
    write([feature(1), feature(2, { dependencies: [1] }), feature(4, { dependencies: [2] }), feature(9, { status: "passed" })]);
    const plan = { plan: "shop" };
    expect(await bring(home, file, { ...plan, dryRun: true })).toMatchObject({ result: "planned", added: ["F-4"], changed: ["own"] });
    expect(await bring(home, file, plan)).toMatchObject({ result: "refused", added: [], changed: [] });
    const done = await bring(home, file, plan, { approved: true });
    expect(done).toMatchObject({
      result: "changed",
      items: { open: 3, done: 1, dropped: 0 },
      added: ["F-4"],
      changed: ["own"],
      left: [{ ticketId: "F-1" }],
      missing: ["by-hand", "F-9"],
      closed: [{ ticketId: "F-9", state: "done", status: "queued" }],
    });
    expect(done.findings[0]).toMatchObject({ rule: "closed-at-source", message: "F-9 is queued, and its source says that it is done" });
    expect(home.plan("shop")).toMatchObject({ name: "By hand" });
    expect(home.plan("shop").tickets).toMatchObject([
      { ticketId: "F-1" },
      { ticketId: "own", blockedBy: ["F-1"] },
      { ticketId: "by-hand" },
      { ticketId: "F-9" },
      { ticketId: "F-4", blockedBy: ["own"] },
    ]);
    expect(await bring(home, file, plan, { approved: true })).toMatchObject({ result: "unchanged", added: [], changed: [] });
  });

  it("says which tickets have lost their items", async () => {
    const { home, file, write } = world();
    await bring(home, file);
    write([feature(2)]);
    const gone = (id: number) => ({
      severity: "warning",
      rule: "gone-at-source",
      file: `${file}#${id}`,
      message: `ticket "F-${id}": it has not ended, and its item is not among what was read: closed, gone or filtered out`,
      fix: "take the ticket off the plan, or cancel it, if nobody wants its work any more",
    });
    expect((await bring(home, file)).findings).toEqual([gone(1)]);
    write([]);
    expect(await bring(home, file, { plan: "core" })).toMatchObject({ result: "nothing", findings: [gone(1), gone(2)] });
  });

  it("stays with the plan that has the items, whatever they would name it now", async () => {
    const { home, file, write } = world();
    await bring(home, file);
    write([feature(1), feature(5, { category: "web" })]);
    expect(await bring(home, file)).toMatchObject({ planId: "core", result: "changed", added: ["F-5"] });
    expect(await bring(home, file, { group: "web" })).toMatchObject({ planId: "core", result: "unchanged" });
    expect(await bring(home, file, { plan: "other" })).toMatchObject({ planId: "other", result: "written" });
    await expect(bring(home, file)).rejects.toMatchObject({
      exit: "conflict",
      message: "Several plans have tickets of this source: core, other.",
      hint: "say with --plan which one is meant",
    });
  });

  it("reads every kind of file once, however often it is told to", async () => {
    const home = testHome({ config: { importLabels: { story: { priority: "P3" } } } });
    for (const folder of ["issues", "backlog", "text"]) cpSync(join(fixtures, folder), join(home.repo, folder), { recursive: true });
    const sources: [string, string, string[]][] = [
      ["issues:repo/issues", "issues", ["ENG-1", "ENG-2"]],
      ["repo/issues", "again", ["ENG-1", "ENG-2"]],
      ["repo/backlog/CLAUDE.md", "claude", ["log-in", "SHOP-7", "dark-mode", "gift-cards"]],
      ["repo/backlog/CLAUDE.md#architecture", "architecture", ["a-list-that-is-no-work"]],
      ["backlog:repo/backlog/roadmap.md#Roadmap", "roadmap", ["add-a-search", "add-filters"]],
      ["text:repo/text/numbered.txt", "numbered", ["add-a-login-form", "remember-who-is-logged-in", "log-out"]],
      ["repo/text/paragraphs.txt", "paragraphs", expect.any(Array)],
    ];
    for (const [source, plan, ids] of sources) {
      const first = await bring(home, source, { plan });
      expect([source, first.result, first.added]).toEqual([source, "written", ids]);
      const second = await bring(home, source, { plan });
      expect([source, second.result, second.added, second.changed]).toEqual([source, "unchanged", [], []]);
      expect(home.plan(plan)).toMatchObject({ status: "draft", repo: home.repo });
    }
    expect(home.ticket("issues", "ENG-2")).toMatchObject({
      type: "bug",
      acceptanceCriteria: ["A session is there after a restart", "It ends after a day"],
    });
    expect(home.ticket("issues", "ENG-1").priority).toBe("P3");
    expect((home.plan("issues").tickets as object[])[1]).toMatchObject({ ticketId: "ENG-2", blockedBy: ["ENG-1"] });
    expect((home.plan("numbered").tickets as object[])[1]).toMatchObject({ blockedBy: ["add-a-login-form"] });
  });

  it("does not add to a plan that only has the name of the source, unless that is asked for", async () => {
    const { home, file } = world();
    home.writePlan({ id: "core", status: "draft" }, [
      { ticketId: "other", source: { kind: "features", id: "/elsewhere/features.json#1" } },
    ]);
    expect(await runCli(home, "import", file)).toEqual({
      code: 4,
      stdout: "",
      stderr: `error: There is a plan "core" already, and none of its tickets is from this source.
hint:  name another plan with --plan; --plan core adds to this one
`,
    });
    expect(await bring(home, file, { plan: "core" })).toMatchObject({ result: "changed", added: ["F-1", "F-2"] });
    expect(await bring(home, file)).toMatchObject({ result: "unchanged" });
  });

  it("takes one group alone", async () => {
    const { home, file, write } = world();
    write([feature(1), feature(2, { category: "web" })]);
    expect(await bring(home, file, { group: "web" })).toMatchObject({ result: "written", planId: "web", added: ["F-2"] });
    await expect(bring(home, file, { group: "wep" })).rejects.toMatchObject({ exit: "notFound", hint: "it has: core, web" });
  });

  it.each([
    ["repo/none.json", "notFound", /There is no file or folder .*none\.json/],
    ["githup:acme/shop", "usage", /"githup" is no kind of source \(did you mean "github"\?\)/],
    ["github:acme/shop?lable=x", "usage", /github knows no "lable" \(did you mean "label"\?\)/],
    ["github:acme/shop?state=opne", "usage", /"opne" is no state \(did you mean "open"\?\)/],
    ["github:shop", "usage", /"shop" does not name a repository/],
    ["features:", "usage", /Nothing says where the source is/],
    ["https://example.com/", "usage", /is no address whose issues can be read/],
    ["https://", "usage", /is no address whose issues can be read/],
    ["https://github.com/acme/shop/issues?labels=bug", "usage", /is no address whose issues can be read/],
    ["linear:ENG", "failed", /There is no key for Linear/],
    ["repo/README.md", "notFound", /does not have a section Backlog/],
  ])("%s ends with %s and says why", async (source, exit, message) => {
    await expect(bring(world().home, source)).rejects.toMatchObject({ exit, message: expect.stringMatching(message) });
  });

  it("ends with the code that goes with what went wrong", async () => {
    const { home, file, write } = world();
    const lost = await runCli(home, "import", "acme/shop");
    expect([lost.code, lost.stderr]).toEqual([3, expect.stringContaining("did you mean github:acme/shop?")]);
    expect((await runCli(home, "import", file, "--workflow", "none")).code).toBe(8);
    write([{ id: 1 }]);
    const nothing = await runCli(home, "import", file);
    expect(nothing).toMatchObject({ code: 8, stderr: expect.stringContaining("feature 1 has no name, so it is left out") });
  });
});

describe("orchestrator sync", () => {
  it("tells features.json what has become of its features, once", async () => {
    const { home, file, write } = world();
    write([feature(1), feature(2), feature(3), feature(4)]);
    const source = (id: number) => ({ kind: "features", id: `${file}#${id}` });
    home.writePlan({ id: "shop" }, [
      { ticketId: "F-1", source: source(1), status: "complete" },
      { ticketId: "F-2", source: source(2), status: "failed", error: "the tests fail" },
      { ticketId: "F-3", source: source(3) },
      { ticketId: "F-4", source: source(4), status: "cancelled" },
      { ticketId: "item", source: { kind: "backlog", id: "/notes.md#item" }, status: "complete" },
      { ticketId: "by-hand", status: "complete" },
    ]);
    const before = readFileSync(file, "utf8");
    const told = `${file} DID of 2 tickets:
  F-1  done
  F-2  failed
/notes.md cannot be told of 1 ticket:
  item  done
`;
    const trial = await runCli(home, "sync", "shop", "--dry-run");
    expect(trial).toEqual({ code: 0, stderr: "", stdout: told.replace("DID", "would be told") });
    expect(readFileSync(file, "utf8")).toBe(before);
    expect(await runCli(home, "sync", "shop")).toEqual({ code: 0, stderr: "", stdout: told.replace("DID", "was told") });
    const after = readFileSync(file, "utf8");
    expect(JSON.parse(after).features).toEqual([
      feature(1, { status: "passed" }),
      feature(2, { status: "failed", failure_reason: "Ticket shop/F-2 failed: the tests fail" }),
      feature(3),
      feature(4),
    ]);
    await tell(home, "shop");
    expect(readFileSync(file, "utf8")).toBe(after);
    expect((await runCli(home, "sync", "none")).code).toBe(3);
  });

  it("tells no secret", async () => {
    const { home, file } = world();
    const TOKEN = "hunter2-hunter2";
    home.writePlan({ id: "shop" }, [
      { ticketId: "F-1", source: { kind: "features", id: `${file}#1` }, status: "failed", error: `it printed ${TOKEN}\nand more` },
    ]);
    await tell(home, "shop", { env: { ...home.env, TOKEN } });
    expect(JSON.parse(readFileSync(file, "utf8")).features[0].failure_reason).toBe(
      "Ticket shop/F-1 failed: it printed [redacted]\nand more",
    );
  });

  it("tells the others when one place cannot be told", async () => {
    const { home, file } = world();
    home.writePlan({ id: "shop" }, [
      { ticketId: "gone", source: { kind: "features", id: "/gone/features.json#1" }, status: "complete" },
      { ticketId: "F-1", source: { kind: "features", id: `${file}#1` }, status: "complete" },
    ]);
    const { code, stdout, stderr } = await runCli(home, "sync", "shop");
    expect([code, stderr]).toEqual([1, expect.stringContaining("There is no file /gone/features.json.")]);
    expect(stdout).toContain(`${file} was told of 1 ticket:`);
    expect(JSON.parse(readFileSync(file, "utf8")).features[0].status).toBe("passed");
  });
});
