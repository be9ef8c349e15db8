import type { Config } from "../domain/config.ts";
import type { Finding } from "../domain/errors.ts";
import { checkWorkflow } from "../engine/check-workflow.ts";
import { type Blueprint, listBlueprints } from "../inputs/blueprints.ts";
import { listWorkflows } from "../inputs/workflows.ts";
import { checkDraft } from "./check-draft.ts";
import { skillFacts } from "./draft-facts.ts";
import { draftQuality } from "./draft-quality.ts";

/** What whoever applies a blueprint says: it is no fault of the blueprint that it does not. */
const saidLater: ReadonlySet<string> = new Set(["no-repo", "no-workflow"]);

/** Every blueprint with all that is wrong with it: as a file, and as the plan that its examples make. */
export function checkBlueprints(config: Config): Blueprint[] {
  return listBlueprints(config.blueprintDirs).map((blueprint) => ({
    ...blueprint,
    findings: [...blueprint.findings, ...(blueprint.sample ? ofSample(blueprint.sample, config) : [])],
  }));
}

function ofSample({ draft, place }: NonNullable<Blueprint["sample"]>, config: Config): Finding[] {
  const workflows = listWorkflows(config.workflowDirs, { check: checkWorkflow });
  const facts = {
    workflows: new Map(workflows.map(({ name }) => [name, undefined])),
    skills: skillFacts(draft, config),
    agents: Object.keys(config.agents),
    plans: new Map(),
    repos: new Map(),
    branches: new Map(),
    takenBranches: new Map(),
  };
  const findings = [...checkDraft(draft, facts, place), ...draftQuality(draft, place)];
  return findings.filter(({ rule }) => !saidLater.has(rule));
}
