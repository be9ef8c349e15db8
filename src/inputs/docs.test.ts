import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { AgentConfig, ConfigFile, McpServerConfig } from "../domain/config.ts";
import { failureCategories } from "../domain/failure.ts";
import { Plan } from "../domain/plan.ts";
import { resolveTicket, TicketFile } from "../domain/ticket.ts";
import { Phase, WorkflowFile } from "../domain/workflow.ts";
import { checkWorkflow } from "../engine/check-workflow.ts";
import { tempDir } from "../testing/temp.ts";
import { bundledAssets } from "./assets.ts";
import { lintWorkflowFile } from "./lint.ts";
import { templateVariables } from "./prompts.ts";
import { parseYaml } from "./yaml-file.ts";

const assets = bundledAssets();
const page = (name: string) => readFileSync(join(assets.root, "docs", `${name}.md`), "utf8");
const missing = (names: Iterable<string>, text: string) => [...new Set(names)].filter((name) => !text.includes(`\`${name}\``));
const blocks = (text: string) => [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map((match) => match[1] ?? "");

describe("the pages", () => {
  it("name every key of a workflow, every type, every category", () => {
    const keys = Phase.options.flatMap((option) => Object.keys(option.shape));
    const types = Phase.options.map((option) => option.shape.type.value);
    const names = [
      ...Object.keys(WorkflowFile.shape),
      ...keys,
      ...types,
      ...failureCategories,
      "allow",
      "deny",
      "json",
      "passfail",
      "steps",
    ];
    expect(missing(names, page("workflows"))).toEqual([]);
  });

  it("name every rule of the lint", () => {
    const sources = [
      "inputs/lint.ts",
      "inputs/workflows.ts",
      "inputs/expand-workflow.ts",
      "inputs/schema-problems.ts",
      "engine/check-workflow.ts",
    ];
    const code = sources.map((file) => readFileSync(join(assets.root, "src", file), "utf8")).join("\n");
    const rules = [...code.matchAll(/(?:rule: |(?:error|problem)\()"([a-z]+(?:-[a-z]+)*)"/g)].map((match) => match[1] ?? "");
    expect(rules.length).toBeGreaterThan(20);
    expect(missing(rules, page("workflows"))).toEqual([]);
  });

  it("name every key of the configuration", () => {
    const names = [ConfigFile, AgentConfig, McpServerConfig].flatMap((schema) => Object.keys(schema.shape));
    expect(missing(names, page("configuration"))).toEqual([]);
  });

  it("state the configuration's defaults as they are", () => {
    const text = page("configuration");
    const stated = Object.entries(ConfigFile.shape).flatMap(([key, schema]) => {
      const given = schema instanceof z.ZodDefault ? schema.def.defaultValue : undefined;
      return typeof given === "number" || typeof given === "string" ? [[key, String(given)] as const] : [];
    });
    expect(stated.map(([key]) => key)).toContain("pollInterval");
    for (const [key, given] of stated) expect(text).toMatch(new RegExp(`\\| \`${key}\` +\\| \`?${given}\`? +\\|`));
  });

  it("name every variable of templates", () => {
    const ticket = TicketFile.parse({ planId: "p", ticketId: "t" });
    const plan = Plan.parse({ id: "p" });
    const facts = { phase: "x", agent: "", base: "", baseSha: "", attempt: 1, params: {} };
    expect(missing(Object.keys(templateVariables(ticket, plan, resolveTicket(ticket, plan, "/w"), facts)), page("prompts"))).toEqual([]);
  });

  it("have examples that are right", () => {
    const [workflow] = blocks(page("workflows"));
    const file = join(tempDir(), "tiny.yaml");
    writeFileSync(file, workflow ?? "");
    const dirs = {
      workflowDirs: [assets.workflows],
      promptDirs: [assets.prompts],
      scriptDirs: [assets.scripts],
      skillsDirs: [assets.skills],
    };
    expect(lintWorkflowFile(file, dirs, { check: checkWorkflow })).toEqual([]);
    expect(parseYaml(blocks(page("configuration"))[0] ?? "", "docs", ConfigFile).findings).toEqual([]);
  });
});
