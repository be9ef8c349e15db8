import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import type { Finding } from "../domain/errors.ts";
import { add, apply, list } from "./blueprint.ts";
import * as check from "./check.ts";
import { call, type Home, makeHome } from "./cli-fixture.ts";

/** A home with a repository beside it. */
function homeWithRepo(): { home: Home; repo: string } {
  const home = makeHome();
  const repo = join(dirname(home.dir), "app");
  execFileSync("git", ["init", "-q", "-b", "main", repo]);
  execFileSync("git", ["-C", repo, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first"]);
  return { home, repo };
}

const values = ["resource=invoice", "fields=number: text, total: money"];
const readJson = (file: string) => JSON.parse(readFileSync(file, "utf8"));

describe("blueprint apply", () => {
  it("writes a draft, with every value in its place", async () => {
    const { home, repo } = homeWithRepo();
    const set = ["--set", ...values];
    expect(await home.run("blueprint", "apply", "crud-resource", ...set, "--repo", repo, "--workflow", "minimal")).toMatchObject({
      code: 0,
      stdout: `Draft "invoice" with 4 tickets: ${join(home.dir, "state/plans/invoice")}\n`,
      stderr: expect.stringContaining("orchestrator plan approve invoice"),
    });
    const plan = readJson(join(home.dir, "state/plans/invoice/plan.json"));
    expect(plan).toMatchObject({ id: "invoice", status: "draft", repo, workflow: "minimal", createdBy: "ada" });
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
    expect(await call(home, apply, ["crud-resource"], { set: values, repo })).toMatchObject({
      ending: "invalid",
      stdout: expect.stringMatching(/there is a plan "invoice" already/),
    });
  });

  it("shows it and writes nothing with --dry-run; the repository is the one around, and the id that was given counts", async () => {
    const { home, repo } = homeWithRepo();
    const options = { id: "bills", set: ["resource=Größe!", "fields=x"], dryRun: true };
    const shown = await call({ ...home, dir: join(repo, "home") }, apply, ["crud-resource"], { ...options, json: true });
    expect(shown).toMatchObject({ ending: "ok", stderr: "" });
    expect(JSON.parse(shown.stdout).data).toMatchObject({ draft: { id: "bills", repo, workflow: "local" }, findings: [] });
    expect(await call(home, apply, ["crud-resource"], { ...options, repo })).toMatchObject({
      ending: "ok",
      stdout: expect.stringContaining("Order: DATA -> API -> SCREEN + DOCS"),
      stderr: "",
    });
    expect(existsSync(join(home.dir, "state/plans"))).toBe(false);
  });

  it.each([
    [
      ["resource=invoice"],
      "usage",
      /needs fields \(its fields with their types, .*\)\.\nhint: {2}orchestrator blueprint apply crud-resource --set fields=/,
    ],
    [[...values, "feilds=x"], "usage", /has no parameter "feilds" \(did you mean "fields"\?\)/],
    [["resource"], "usage", /--set resource is not understood/],
    [[...values, "resource=x"], "usage", /--set resource= is there twice/],
    [["resource=..", "fields=x"], "invalid", /crud-resource\.yaml:\d+:\d+ {2}plan\.id: an id [\s\S]*--id takes the place of the id/],
  ] as [string[], string, RegExp][])("refuses %j", async (set, ending, message) => {
    expect(await call(makeHome(), apply, ["crud-resource"], { set })).toMatchObject({ ending, stderr: expect.stringMatching(message) });
  });

  it("refuses an unknown name, and a repository that is none", async () => {
    const home = makeHome();
    expect(await call(home, apply, ["crud-resorce"])).toMatchObject({
      ending: "notFound",
      stderr: expect.stringContaining('did you mean "crud-resource"?'),
    });
    expect(await call(home, apply, ["crud-resource"], { set: values, repo: "/nowhere" })).toMatchObject({
      ending: "invalid",
      stdout: expect.stringContaining("/nowhere"),
      stderr: expect.stringContaining("Nothing was written."),
    });
  });
});

describe("blueprint list and check", () => {
  it("show every blueprint with its parameters, and broken ones with place and fix", async () => {
    const home = makeHome();
    const good = await call(home, list, []);
    expect(good).toMatchObject({ ending: "ok", stderr: "" });
    expect(good.stdout).toMatch(/^api-only {2}\S+\/blueprints\/api-only\.yaml\n {2}An HTTP API .*\n {4}--set product=… .* required$/m);
    expect(
      JSON.parse((await call(home, list, [], { json: true })).stdout).data.map(({ name, findings }: { name: string; findings: [] }) => [
        name,
        findings,
      ]),
    ).toEqual(["api-only", "crud-resource", "saas-starter"].map((name) => [name, []]));
    const file = home.write(
      "blueprints/mine.yaml",
      "name: mine\nparams:\n  a: { description: a }\nplan:\n  id: x\n  tickets:\n    - { id: A, title: '{{ params.b }}', blockedBy: [B] }\n",
    );
    expect((await call(home, list, [])).stdout).toContain("broken: orchestrator check");
    const checked = await call(home, check, []);
    expect(checked).toMatchObject({ ending: "invalid", stderr: expect.stringMatching(/\d+ skills, 4 blueprints/) });
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
    expect((await call(home, check, [])).stdout).toMatch(
      /mine\.yaml:7:\d+ {2}plan\.tickets\[0\]\.blockedBy\[0\]: .*"B".*\[unknown-blocker\]/,
    );
  });
});

it("the example of docs/blueprints.md is one, and skills that are too much together are found", async () => {
  const home = makeHome();
  const page = readFileSync(join(import.meta.dirname, "../../docs/blueprints.md"), "utf8");
  const [, example = ""] = /```yaml\n([\s\S]*?)```/.exec(page) ?? [];
  const errors = async () => {
    const { stdout } = await call(home, list, [], { json: true });
    const found: { name: string; findings: Finding[] }[] = JSON.parse(stdout).data;
    return found.flatMap(({ name, findings }) => (name === "endpoint" ? findings.filter(({ severity }) => severity === "error") : []));
  };
  home.write("blueprints/endpoint.yaml", example);
  expect(await errors()).toEqual([]);
  for (const name of ["one", "two"])
    home.write(`skills/${name}/SKILL.md`, `---\nname: ${name}\ndescription: x\n---\n${"x".repeat(20_000)}\n`);
  home.write("blueprints/endpoint.yaml", example.replace("[crud-api, testing]", "[one, two]"));
  expect(await errors()).toMatchObject([
    { rule: "skill", field: "plan.tickets[0].skills", message: expect.stringMatching(/come to 40\d+ bytes/) },
  ]);
});

describe("blueprint add", () => {
  it("saves a plan so that applying it makes the same again, and keeps braces that mean nothing", async () => {
    const { home, repo } = homeWithRepo();
    const set = ["resource=invoice", "fields=tpl: {{ text }} {% if %} GET /{invoice}"];
    await call(home, apply, ["crud-resource"], { set, repo, id: "invoice.v1" });
    expect(await call(home, add, ["mine", "invoice.v1"], { param: ["thing=invoice"] })).toEqual({
      ending: "ok",
      stdout: `${join(home.dir, "blueprints/mine.yaml")}\n`,
      stderr: "",
    });
    const saved = parse(readFileSync(join(home.dir, "blueprints/mine.yaml"), "utf8"));
    expect(saved).toMatchObject({
      name: "mine",
      params: { thing: { example: "invoice" } },
      plan: { id: "{{ params.thing }}.v1", workflow: "local" },
    });
    expect(JSON.stringify(saved)).not.toContain(repo);
    await call(home, apply, ["mine"], { set: ["thing=order"], repo });
    const of = (plan: string) => {
      const dir = join(home.dir, "state/plans", plan, "tickets");
      return readdirSync(dir).map((name) => {
        const { title, description, acceptanceCriteria, scope, skills, type } = readJson(join(dir, name));
        return { name, title, description, acceptanceCriteria, scope, skills, type };
      });
    };
    expect(of("order.v1")).toEqual(JSON.parse(JSON.stringify(of("invoice.v1")).replaceAll("invoice", "order")));
    expect(of("order.v1").find(({ name }) => name === "DATA.json")?.description).toContain("tpl: {{ text }} {% if %} GET /{order}");
    expect(await call(home, add, ["mine", "invoice.v1"])).toMatchObject({ ending: "conflict", stderr: expect.stringContaining("--force") });
    expect(await call(home, add, ["mine", "invoice.v1"], { force: true })).toMatchObject({ ending: "ok" });
  });

  it("takes a draft or a blueprint from a file, and says what is wrong with any other", async () => {
    const home = makeHome();
    const draft = home.write("draft.yaml", "id: small\ntickets: [{ id: A, title: Do it }]\n");
    expect((await call(home, add, ["small", draft])).stdout).toContain("blueprints/small.yaml");
    expect(await call(home, add, ["again", join(home.dir, "blueprints/small.yaml")])).toMatchObject({
      stdout: expect.stringContaining("again.yaml"),
    });
    expect(await call(home, add, ["bad", home.write("bad.yaml", "id: x\ntickets: []\n")])).toMatchObject({
      ending: "invalid",
      stderr: expect.stringMatching(/bad\.yaml:2:10 {2}tickets: must not be empty/),
    });
    expect(await call(home, add, ["Bad Name", draft])).toMatchObject({ ending: "usage" });
    expect(await call(home, add, ["odd", draft], { param: ["thing=elsewhere"] })).toMatchObject({
      ending: "usage",
      stderr: expect.stringContaining('The plan has "elsewhere" nowhere'),
    });
    expect(await call(home, add, ["none", "./none.yaml"])).toMatchObject({ ending: "notFound" });
    expect(await call(home, add, ["none", "noplan"])).toMatchObject({ ending: "notFound" });
  });
});
