import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { type Home, makeHome } from "./cli-fixture.ts";

/** A home with a repository beside it. */
function homeWithRepo(): { home: Home; repo: string } {
  const home = makeHome();
  const repo = join(dirname(home.dir), "app");
  execFileSync("git", ["init", "-q", "-b", "main", repo]);
  execFileSync("git", ["-C", repo, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first"]);
  return { home, repo };
}

const resource = ["--set", "resource=invoice", "--set", "fields=number: text, total: money"];
const readJson = (file: string) => JSON.parse(readFileSync(file, "utf8"));

describe("blueprint apply", () => {
  it("writes a draft, with every value in its place", async () => {
    const { home, repo } = homeWithRepo();
    const applied = await home.run("blueprint", "apply", "crud-resource", ...resource, "--repo", repo, "--workflow", "local");
    expect(applied).toMatchObject({
      code: 0,
      stdout: `Draft "invoice" with 4 tickets: ${join(home.dir, "state/plans/invoice")}\n`,
      stderr: expect.stringContaining("orchestrator plan approve invoice"),
    });
    const plan = readJson(join(home.dir, "state/plans/invoice/plan.json"));
    expect(plan).toMatchObject({ id: "invoice", status: "draft", repo, workflow: "local", createdBy: "ada" });
    expect(plan.tickets.map(({ ticketId, blockedBy }: { ticketId: string; blockedBy: string[] }) => [ticketId, blockedBy])).toEqual([
      ["DATA", []],
      ["API", ["DATA"]],
      ["SCREEN", ["API"]],
      ["DOCS", ["API"]],
    ]);
    const ticket = readJson(join(home.dir, "state/plans/invoice/tickets/DATA.json"));
    expect(ticket).toMatchObject({
      title: "Store each invoice",
      scope: ["src/**", "migrations/**", "**/*.test.*"],
      skills: ["crud-api", "testing"],
    });
    expect(ticket.description).toContain("Fields: number: text, total: money;");
    expect(await home.run("blueprint", "apply", "crud-resource", ...resource, "--repo", repo, "--workflow", "local")).toMatchObject({
      code: 8,
      stdout: expect.stringMatching(/there is a plan "invoice" already/),
    });
  });

  it("shows it and writes nothing with --dry-run", async () => {
    const { home, repo } = homeWithRepo();
    const shown = await home.run(
      "blueprint",
      "apply",
      "crud-resource",
      ...resource,
      "--id",
      "bills",
      "--repo",
      repo,
      "--workflow",
      "flow",
      "--dry-run",
    );
    expect(shown).toMatchObject({ code: 0, stdout: expect.stringContaining("Order: DATA -> API -> SCREEN + DOCS"), stderr: "" });
    expect(existsSync(join(home.dir, "state/plans"))).toBe(false);
  });

  it.each([
    [
      ["--set", "resource=invoice"],
      2,
      /needs fields \(its fields with their types, .*\)\.\nhint: {2}orchestrator blueprint apply crud-resource --set fields=/,
    ],
    [[...resource, "--set", "feilds=x"], 2, /has no parameter "feilds" \(did you mean "fields"\?\)/],
    [["--set", "resource"], 2, /--set resource is not understood/],
    [[...resource, "--set", "resource=x"], 2, /--set resource= is there twice/],
  ] as [string[], number, RegExp][])("refuses %j", async (args, code, message) => {
    const home = makeHome();
    expect(await home.run("blueprint", "apply", "crud-resource", ...args)).toMatchObject({ code, stderr: expect.stringMatching(message) });
  });

  it("refuses an unknown name, a repository that is none, and values that make no plan", async () => {
    const home = makeHome();
    expect(await home.run("blueprint", "apply", "crud-resorce")).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('did you mean "crud-resource"?'),
    });
    const nowhere = await home.run("blueprint", "apply", "crud-resource", ...resource, "--repo", "/nowhere", "--workflow", "flow");
    expect(nowhere).toMatchObject({
      code: 8,
      stdout: expect.stringContaining("/nowhere"),
      stderr: expect.stringContaining("Nothing was written."),
    });
    const odd = await home.run("blueprint", "apply", "crud-resource", "--set", "resource=..", "--set", "fields=x");
    expect(odd).toMatchObject({ code: 8, stderr: expect.stringMatching(/crud-resource\.yaml:\d+:\d+ {2}plan\.id: an id /) });
  });
});

describe("blueprint list and check", () => {
  it("show every blueprint with its parameters, and broken ones with place and fix", async () => {
    const home = makeHome();
    const good = await home.run("blueprint", "list");
    expect(good).toMatchObject({ code: 0, stderr: "" });
    expect(good.stdout).toMatch(/^api-only {2}\S+\/blueprints\/api-only\.yaml\n {2}An HTTP API .*\n {4}--set product=… .* required$/m);
    expect(
      JSON.parse((await home.run("blueprint", "list", "--json")).stdout).data.map(({ name, findings }: { name: string; findings: [] }) => [
        name,
        findings,
      ]),
    ).toEqual(["api-only", "crud-resource", "saas-starter"].map((name) => [name, []]));
    const file = home.write(
      "blueprints/mine.yaml",
      "name: mine\nparams:\n  a: { description: a }\nplan:\n  id: x\n  tickets:\n    - { id: A, title: '{{ params.b }}', blockedBy: [B] }\n",
    );
    expect((await home.run("blueprint", "list")).stdout).toContain("broken: orchestrator check");
    const checked = await home.run("check");
    expect(checked).toMatchObject({ code: 8, stderr: expect.stringMatching(/22 skills|\d+ skills, 4 blueprints/) });
    expect(
      checked.stdout
        .split("\n")
        .filter((line) => line.includes(file))
        .map((line) => line.replace(file, "F")),
    ).toEqual([
      expect.stringMatching(/^warning: F:3:6 {2}params\.a: nothing reads params\.a — fix: remove it \[unused-param\]$/),
      expect.stringMatching(
        /^error: F:7:23 {2}plan\.tickets\[0\]\.title: the variable "params\.b" has no value here — fix: did you mean "params\.a"\? \[undefined-variable\]$/,
      ),
    ]);
    writeFileSync(file, readFileSync(file, "utf8").replace("params.b", "params.a"));
    expect((await home.run("check")).stdout).toMatch(/mine\.yaml:7:\d+ {2}plan\.tickets\[0\]\.blockedBy\[0\]: .*"B".*\[unknown-blocker\]/);
  });
});

describe("blueprint add", () => {
  it("saves a plan so that applying it makes the same again, and keeps braces that mean nothing", async () => {
    const { home, repo } = homeWithRepo();
    await home.run(
      "blueprint",
      "apply",
      "crud-resource",
      "--set",
      "resource=invoice",
      "--set",
      "fields=tpl: {{ text }} {% if %}",
      "--repo",
      repo,
      "--workflow",
      "flow",
    );
    const added = await home.run("blueprint", "add", "mine", "invoice", "--param", "thing=invoice");
    expect(added).toMatchObject({ code: 0, stdout: `${join(home.dir, "blueprints/mine.yaml")}\n`, stderr: "" });
    const saved = parse(readFileSync(join(home.dir, "blueprints/mine.yaml"), "utf8"));
    expect(saved).toMatchObject({
      name: "mine",
      params: { thing: { example: "invoice" } },
      plan: { id: "{{ params.thing }}", workflow: "flow" },
    });
    expect(JSON.stringify(saved)).not.toContain(repo);
    await home.run("blueprint", "apply", "mine", "--set", "thing=order", "--repo", repo);
    const of = (plan: string) => {
      const dir = join(home.dir, "state/plans", plan, "tickets");
      return readdirSync(dir).map((name) => {
        const { title, description, acceptanceCriteria, scope, skills, type } = readJson(join(dir, name));
        return { name, title, description, acceptanceCriteria, scope, skills, type };
      });
    };
    expect(of("order")).toEqual(JSON.parse(JSON.stringify(of("invoice")).replaceAll("invoice", "order")));
    expect(of("order").find(({ name }) => name === "DATA.json")?.description).toContain("tpl: {{ text }} {% if %}");
    expect(await home.run("blueprint", "add", "mine", "invoice")).toMatchObject({ code: 4, stderr: expect.stringContaining("--force") });
    expect(await home.run("blueprint", "add", "mine", "invoice", "--force")).toMatchObject({ code: 0 });
  });

  it("takes a draft or a blueprint from a file, and says what is wrong with any other", async () => {
    const home = makeHome();
    const draft = home.write("draft.yaml", "id: small\ntickets: [{ id: A, title: Do it }]\n");
    expect((await home.run("blueprint", "add", "small", draft)).stdout).toContain("blueprints/small.yaml");
    expect(await home.run("blueprint", "add", "again", join(home.dir, "blueprints/small.yaml"))).toMatchObject({
      stdout: expect.stringContaining("again.yaml"),
    });
    expect(await home.run("blueprint", "add", "bad", home.write("bad.yaml", "id: x\ntickets: []\n"))).toMatchObject({
      code: 8,
      stderr: expect.stringMatching(/bad\.yaml:2:10 {2}tickets: must not be empty/),
    });
    expect(await home.run("blueprint", "add", "Bad Name", draft)).toMatchObject({ code: 2 });
    expect(await home.run("blueprint", "add", "none", "./none.yaml")).toMatchObject({ code: 3 });
    expect(await home.run("blueprint", "add", "none", "noplan")).toMatchObject({ code: 3 });
  });
});
