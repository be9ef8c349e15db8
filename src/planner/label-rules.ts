import type { TicketDraft } from "../domain/draft.ts";

type Type = NonNullable<TicketDraft["type"]>;
type Priority = NonNullable<TicketDraft["priority"]>;

/** What a label means for the tickets that have it. */
export interface LabelRule {
  type?: Type | undefined;
  priority?: Priority | undefined;
  workflow?: string | undefined;
}

const typeWords: Record<Type, readonly string[]> = {
  bug: ["bug", "bugs", "bugfix", "bugfixes", "bug fix", "bug fixes", "fix", "defect", "regression", "incident", "hotfix"],
  feature: ["feature", "features", "feat", "enhancement", "improvement", "story", "user story"],
  refactor: ["refactor", "refactors", "refactoring", "refactorings", "tech debt", "technical debt", "cleanup"],
  test: ["test", "tests", "testing"],
  docs: ["doc", "docs", "documentation"],
  chore: ["chore", "chores", "ci", "build", "deps", "dependencies", "maintenance"],
  spike: ["spike", "spikes", "research", "investigation"],
};

const priorityWords: Record<Priority, readonly string[]> = {
  P0: [
    "p0",
    "critical",
    "urgent",
    "blocker",
    "hotfix",
    "priority 0",
    "priority critical",
    "priority urgent",
    "priority highest",
    "highest",
  ],
  P1: ["p1", "priority 1", "priority high", "high", "high priority", "important", "must", "must have"],
  P2: ["p2", "priority 2", "priority medium", "priority normal", "medium", "medium priority", "normal priority", "should", "should have"],
  P3: ["p3", "priority 3", "priority low", "priority lowest", "low", "low priority", "lowest", "minor", "trivial", "could", "could have"],
};

const types = inverted(typeWords);
const priorities = inverted(priorityWords);

function inverted<Name extends string>(words: Record<Name, readonly string[]>): Map<string, Name> {
  return new Map(Object.entries<readonly string[]>(words).flatMap(([name, list]) => list.map((word) => [word, name as Name])));
}

/**
 * What a label means: what `configured` says of it (whatever its case) for those of the three that it names, the program's own words for
 * the rest. `type/bug`, `kind: bug` and `bug` are the same, and so are `priority/high`, `prio:high` and `priority-high`.
 */
export function meaningOf(label: string, configured: ReadonlyMap<string, LabelRule>): LabelRule {
  const words = plain(label);
  const type = types.get(words.replace(/^(?:type|kind|category) /, ""));
  const priority = priorities.get(words.replace(/^(?:prio|severity) /, "priority "));
  const workflow = /^\s*workflow\s*[:/]\s*(\S.*)$/i.exec(label)?.[1]?.trim();
  return { type, priority, workflow, ...defined(configured.get(label.trim().toLowerCase()) ?? {}) };
}

function plain(label: string): string {
  return label
    .slice(0, 200)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, " ")
    .trim();
}

function defined(rule: LabelRule): LabelRule {
  return Object.fromEntries(Object.entries(rule).filter(([, value]) => value !== undefined));
}

/** What an item's labels mean together: a bug is a bug whatever else it is, the highest priority holds, else the first label that says something. */
export function meaningOfAll(labels: readonly string[], configured: ReadonlyMap<string, LabelRule>): LabelRule {
  const rules = labels.map((label) => meaningOf(label, configured));
  const all = rules.flatMap(({ type }) => type ?? []);
  return {
    type: all.includes("bug") ? "bug" : all[0],
    priority: rules.flatMap(({ priority }) => priority ?? []).toSorted()[0],
    workflow: rules.find(({ workflow }) => workflow !== undefined)?.workflow,
  };
}

/** The workflow that a type of work has where one of that name exists. */
export function workflowOfType(type: Type): string {
  return type === "bug" ? "bugfix" : type;
}
