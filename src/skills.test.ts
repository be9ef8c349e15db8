import { globSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import * as z from "zod";
import { commands, globalOptions, jsonOption } from "./commands/index.ts";
import { AgentConfig, ConfigFile, McpServerConfig } from "./domain/config.ts";
import { PlanDraft } from "./domain/draft.ts";
import { formatFinding } from "./domain/errors.ts";
import { Plan } from "./domain/plan.ts";
import { reactionNames } from "./domain/reaction.ts";
import { Verdict } from "./domain/session.ts";
import { resolveTicket, TicketFile } from "./domain/ticket.ts";
import { WorkflowFile } from "./domain/workflow.ts";
import { checkWorkflow } from "./engine/check-workflow.ts";
import { bundledAssets } from "./inputs/assets.ts";
import { templateVariables } from "./inputs/prompts.ts";
import { problemsOf } from "./inputs/schema-problems.ts";
import { listSkills } from "./inputs/skills.ts";
import { listWorkflows } from "./inputs/workflows.ts";
import { planTools } from "./planner/tools.ts";
import { codeLines, prose, wrongCalls } from "./testing/markdown.ts";

const assets = bundledAssets();
const skills = listSkills([assets.skills]);
const prompts = globSync("**/*.md", { cwd: assets.prompts }).sort();

/** Templates of planners, which speak of the program itself; the others speak of the work. */
const aboutTheProgram = prompts.filter((name) => name === "planner.md" || name === "plan-review.md" || name.startsWith("personas/"));

/** Every key and every fixed value of a schema. */
function namesIn(schema: unknown, seen = new Set<unknown>()): string[] {
  if (!(schema instanceof z.ZodType) || seen.has(schema)) return [];
  seen.add(schema);
  const inner = Object.values(schema.def).flatMap((part) => (Array.isArray(part) ? part : [part]));
  const own =
    schema instanceof z.ZodObject
      ? [...Object.keys(schema.shape), ...Object.values(schema.shape).flatMap((field) => namesIn(field, seen))]
      : schema instanceof z.ZodEnum
        ? schema.options.map(String)
        : schema instanceof z.ZodLiteral
          ? [...schema.values].map(String)
          : [];
  return [...own, ...inner.flatMap((part) => namesIn(part, seen))];
}

function variableNames(): string[] {
  const ticket = TicketFile.parse({ planId: "p", ticketId: "t" });
  const plan = Plan.parse({ id: "p" });
  const facts = { phase: "x", agent: "", base: "", baseSha: "", attempt: 1, params: {} };
  return Object.keys(templateVariables(ticket, plan, resolveTicket(ticket, plan, "/w"), facts));
}

const flags = [...commands.flatMap(({ options = [] }) => options), ...globalOptions, jsonOption].flatMap((option) =>
  option.flags.split(/[ ,]+/).filter((flag) => flag.startsWith("-")),
);

/** Names that belong to the program. */
const known = new Set([
  ...[ConfigFile, AgentConfig, McpServerConfig, PlanDraft, WorkflowFile, Plan, TicketFile, Verdict].flatMap((schema) => namesIn(schema)),
  ...reactionNames,
  ...planTools.map(({ name }) => name),
  ...variableNames(),
  ...flags,
  ...commands.map(({ name }) => name),
  ...listWorkflows([assets.workflows], { check: checkWorkflow }).map(({ name }) => name),
  ...skills.map(({ name }) => name),
  ...[assets.prompts, assets.scripts].flatMap((dir) => globSync("**/*", { cwd: dir })),
  ...["orchestrator", "stdout", "config.yaml", "ORCHESTRATOR_HOME", "--help", "-h", "problems", "plan", "tickets", "ready"],
]);

/** Names of other programs and formats that planners' texts speak of. */
const foreign = new Set(["gh", "git", "true", "false", "typecheck", "test", "lint"]);

/** Single words set as code that name nothing of the program. What has a slash, a bracket or a space is no name. */
function strangeWords(text: string): string[] {
  const spans = [...prose(text).matchAll(/`([^`\n]+)`/g)].map(([, span = ""]) => span);
  const words = spans.flatMap((span) => {
    const pair = /^([a-z]\w*): (\w+)$/i.exec(span);
    return pair ? pair.slice(1) : [span];
  });
  return (
    words
      .filter((word) => /^-{0,2}[A-Za-z][\w.-]*$/.test(word))
      .filter((word) => !known.has(word) && !foreign.has(word) && !known.has(word.split(".")[0] ?? ""))
      // Ids of examples are upper case, and so are the names of tickets.
      .filter((word) => !/^[A-Z]+(-\d+)?$/.test(word))
  );
}

/** What a fence may hold, by the word behind its language; JSON without one is a verdict. */
const schemas: Record<string, z.ZodType> = { config: ConfigFile, workflow: WorkflowFile, draft: PlanDraft, verdict: Verdict };

/** YAML and JSON in fences that says not what it is, or is not what it says. */
function wrongFences(text: string): string[] {
  return [...text.matchAll(/^```(yaml|json)(?: (\w+))?\n([\s\S]*?)^```$/gm)].flatMap(
    ([, language, kind = language === "json" ? "verdict" : "", body = ""]) => {
      const schema = schemas[kind];
      if (!schema)
        return [`a fence of "${kind}" is checked by nothing; write one of ${Object.keys(schemas).join(", ")} behind its language`];
      const value = parse(body);
      return problemsOf(schema, value, schema.safeParse(value).error?.issues ?? []).map(
        ({ path, message }) => `${path.join(".")}: ${message}`,
      );
    },
  );
}

/** Everything that a planner's text says of the program and that is not so. */
function drift(page: string, text: string): string[] {
  const calls = text.replace(/<[a-z][a-z -]*>/g, "THIS");
  return [
    ...wrongCalls(page, calls),
    ...strangeWords(text).map((word) => `${page}: nothing is called ${word}`),
    ...wrongFences(text).map((problem) => `${page}: ${problem}`),
  ];
}

describe("bundled skills", () => {
  it("have nothing to find", () => {
    expect(skills.flatMap(({ findings }) => findings.map(formatFinding))).toEqual([]);
  });

  it("are those that planners and workers need", () => {
    const names = (reader: string) => skills.filter((skill) => skill.for === reader).map(({ name }) => name);
    expect(names("planner")).toEqual(["cli", "config", "filesystem", "github-issues", "linear", "planner", "workflows"]);
    expect(names("worker").length).toBeGreaterThanOrEqual(14);
    expect(names("either")).toEqual([]);
  });

  it.each(skills.filter((skill) => skill.for === "planner").map((skill) => [skill.name, skill]))(
    "%s names only what exists",
    (name, skill) => {
      expect(drift(name, skill.body)).toEqual([]);
    },
  );

  it("of workers name only commands that exist, and no variables of templates", () => {
    for (const { name, body } of skills) expect(wrongCalls(name, body)).toEqual([]);
    expect(skills.filter((skill) => skill.for === "worker" && skill.body.includes("{{")).map(({ name }) => name)).toEqual([]);
  });
});

describe("bundled prompts", () => {
  const read = (name: string) => readFileSync(join(assets.prompts, name), "utf8");

  it("are all read by something", () => {
    const readers = [
      ...globSync("**/*.yaml", { cwd: assets.workflows }).map((file) => readFileSync(join(assets.workflows, file), "utf8")),
      ...globSync("**/*.ts", { cwd: join(assets.root, "src"), exclude: ["**/*.test.ts"] }).map((file) =>
        readFileSync(join(assets.root, "src", file), "utf8"),
      ),
      ...prompts.map(read),
    ].join("\n");
    expect(prompts.filter((name) => dirname(name) !== "personas" && !readers.includes(basename(name)))).toEqual(["verify.md"]);
  });

  it("name only commands that exist", () => {
    for (const name of prompts) expect(wrongCalls(name, read(name))).toEqual([]);
  });

  it.each(aboutTheProgram)("%s names only what exists", (name) => {
    expect(drift(name, read(name).replace(/\{\{[^}]*\}\}/g, "VALUE"))).toEqual([]);
  });
});

describe("the check itself", () => {
  it("finds commands, options, keys, values, tools and examples that do not exist", () => {
    const bad = [
      "Run `orchestrator dance <plan>` or `orchestrator retry <plan> <ticket> --loud`, or with `--louder`.",
      "Set `maxConcurency: 3`, `paralelism` or `verdict: yaml`; call `make_plan`. `local`, `maxRetries`, `T-1` and `src/a.ts` exist.",
      "```yaml workflow",
      "name: x",
      "phases: [{ id: a, type: agnet }]",
      "```",
      "```yaml",
      "a: 1",
      "```",
    ].join("\n");
    expect(drift("bad", bad)).toEqual([
      'bad: there is no command "dance" in: orchestrator dance THIS',
      'bad: "retry" has no option --loud in: orchestrator retry THIS THIS --loud',
      "bad: nothing is called --louder",
      "bad: nothing is called maxConcurency",
      "bad: nothing is called paralelism",
      "bad: nothing is called yaml",
      "bad: nothing is called make_plan",
      'bad: phases.0.type: string "agnet" is no type',
      'bad: a fence of "" is checked by nothing; write one of config, workflow, draft, verdict behind its language',
    ]);
  });

  it("looks at spans and blocks alike", () => {
    expect(codeLines("`a`\n```sh\nb\n```\n")).toEqual(["b", "a"]);
  });
});
