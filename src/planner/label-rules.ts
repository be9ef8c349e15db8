import type { LabelRule } from "../domain/config.ts";
import type { TicketDraft } from "../domain/draft.ts";

type Type = NonNullable<TicketDraft["type"]>;
type Priority = NonNullable<TicketDraft["priority"]>;

/** What labels mean for a ticket. */
interface Meaning {
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

function plain(label: string): string {
  return label
    .slice(0, 200)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, " ")
    .trim();
}

/** What the program itself knows: `type/bug`, `kind: bug` and `bug` are the same, and so are `priority/high`, `prio:high` and `priority-high`. */
function known(label: string): Meaning {
  const words = plain(label);
  return {
    type: types.get(words.replace(/^(?:type|kind|category) /, "")),
    priority: priorities.get(words.replace(/^(?:prio|severity) /, "priority ")),
    workflow: /^\s*workflow\s*[:/]\s*(\S.*)$/i.exec(label.slice(0, 200))?.[1]?.trim(),
  };
}

/** The configuration's rules for labels, to be found by `meaningOf` whatever the case of a label. */
export function labelRules(configured: Readonly<Record<string, LabelRule>>): ReadonlyMap<string, LabelRule> {
  return new Map(Object.entries(configured).map(([label, rule]) => [label.trim().toLowerCase(), rule]));
}

/**
 * What the labels of an item mean together. For each of the three the configuration comes first, then the priority that the source itself
 * `stated`, then the program's own words. A bug is a bug whatever else it is, the highest priority holds, else the first label that says something.
 */
export function meaningOf(labels: readonly string[], rules: ReadonlyMap<string, LabelRule>, stated: Priority | undefined): Meaning {
  const configured = together(labels.flatMap((label): Meaning[] => [rules.get(label.trim().toLowerCase()) ?? {}]));
  const own = together(labels.map(known));
  return {
    type: configured.type ?? own.type,
    priority: configured.priority ?? stated ?? own.priority,
    workflow: configured.workflow ?? own.workflow,
  };
}

function together(meanings: readonly Meaning[]): Meaning {
  const all = meanings.flatMap(({ type }) => type ?? []);
  return {
    type: all.includes("bug") ? "bug" : all[0],
    priority: meanings.flatMap(({ priority }) => priority ?? []).toSorted()[0],
    workflow: meanings.find(({ workflow }) => workflow !== undefined)?.workflow,
  };
}

/** The workflow that a type of work has where one of that name exists. */
export function workflowOfType(type: Type): string {
  return type === "bug" ? "bugfix" : type;
}
