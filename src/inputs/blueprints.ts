/** Blueprints: plans whose texts are templates, found by name in a search path. */
import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { BlueprintFile } from "../domain/blueprint.ts";
import { PlanDraft } from "../domain/draft.ts";
import { didYouMean, type Finding, type Problem, suggestion, UserError } from "../domain/errors.ts";
import { renderString, templateError } from "./prompts.ts";
import { problemsOf } from "./schema-problems.ts";
import { templateReferences } from "./template-references.ts";
import { findingsError, readYamlFile, sortFindings, type YamlFile } from "./yaml-file.ts";

/** A blueprint of the search path. A broken one is listed, too: its findings say what is wrong. */
export interface Blueprint {
  name: string;
  description: string;
  params: BlueprintFile["params"];
  file: string;
  /** Files of lower precedence that this one stands in front of. */
  shadows: string[];
  findings: Finding[];
  /** What it makes of its examples and defaults; absent when it has errors. */
  sample?: Applied;
}

type Source = YamlFile<BlueprintFile>;
type Path = Problem["path"];

/** Every blueprint of the search path, by name. A broken file has findings and harms no other. */
export function listBlueprints(dirs: readonly string[]): Blueprint[] {
  const listed = new Map<string, Blueprint>();
  for (const file of dirs.flatMap(blueprintFiles)) {
    const name = nameOf(file);
    const known = listed.get(name);
    if (known) {
      known.shadows.push(file);
      continue;
    }
    const source = readYamlFile(file, BlueprintFile);
    const { description = "", params = {} } = source.value ?? {};
    listed.set(name, { name, description, params, file, shadows: [], ...lintBlueprint(source) });
  }
  return [...listed.values()].toSorted((a, b) => a.name.localeCompare(b.name));
}

/** A draft made of a blueprint, and how to give problems of the draft their place in the blueprint's file. */
export interface Applied {
  draft: PlanDraft;
  place(problem: Problem): Finding;
}

/** What whoever applies a blueprint says in place of it. */
type Instead = Partial<Pick<PlanDraft, "id" | "repo" | "workflow">>;

/**
 * The draft that a blueprint makes of these values. A name, a value that is missing or not known, and a blueprint with errors are a
 * UserError.
 */
export function applyBlueprint(
  dirs: readonly string[],
  name: string,
  values: Readonly<Record<string, string>>,
  instead: Instead = {},
): Applied {
  const source = findBlueprint(dirs, name);
  const { findings } = lintBlueprint(source);
  if (source.value === undefined || findings.some(({ severity }) => severity === "error")) {
    throw findingsError(`The blueprint ${source.file} is not usable:`, findings, "orchestrator check shows all findings");
  }
  const { params } = source.value;
  const names = Object.keys(params);
  const strange = Object.keys(values).find((key) => !Object.hasOwn(params, key));
  if (strange !== undefined) {
    throw new UserError(`The blueprint "${name}" has no parameter "${strange}"${suggestion(strange, names)}.`, {
      exit: "usage",
      hint: names.length === 0 ? "it has none" : `it has ${names.join(", ")}`,
    });
  }
  const missing = Object.entries(params).filter(([key, param]) => values[key] === undefined && param.default === undefined);
  if (missing.length > 0) {
    const sets = missing.map(([key, { example }]) => `--set ${key}=${JSON.stringify(example ?? "…")}`);
    throw new UserError(`The blueprint "${name}" needs ${missing.map(([key, { description }]) => `${key} (${description})`).join(", ")}.`, {
      exit: "usage",
      hint: `orchestrator blueprint apply ${name} ${sets.join(" ")}`,
    });
  }
  const given = Object.fromEntries(Object.entries(params).map(([key, param]) => [key, values[key] ?? param.default ?? ""]));
  const { draft, problems } = renderPlan(source.value, given, instead);
  if (draft === undefined) {
    const hint = "choose other values; --id takes the place of the id";
    throw findingsError(`With these values the blueprint "${name}" makes no plan:`, problems.map(source.place), hint);
  }
  return { draft, place: placeOf(source) };
}

/** The text of a blueprint that makes this draft again, but for what only this repository or machine has. */
export function blueprintOf(name: string, draft: PlanDraft, params: Readonly<Record<string, string>>): BlueprintFile {
  const { repo: _repo, worktreeRoot: _root, tickets, ...plan } = draft;
  // The longest first: of two values that begin alike the longer one is meant.
  const values = Object.entries(params).toSorted(([, a], [, b]) => b.length - a.length);
  const template = (text: string) => asTemplate(text, values);
  const stripped = tickets.map(({ repo: _itsRepo, branch: _branch, source: _source, ...ticket }) => withoutEmpty(ticket));
  return {
    name,
    description: draft.name || draft.goal,
    params: Object.fromEntries(Object.entries(params).map(([key, value]) => [key, { description: `stands for ${value}`, example: value }])),
    plan: mapStrings({ ...withoutEmpty(plan), tickets: stripped }, template) as Record<string, unknown>,
  };
}

/** Where a new blueprint of this name goes: the first folder. */
export function blueprintFile(dirs: readonly string[], name: string): string {
  return join(dirs[0] ?? "", `${name}.yaml`);
}

/** Everything that is wrong with a blueprint before anybody gives values, and what it makes of its examples. */
function lintBlueprint(source: Source): Pick<Blueprint, "findings" | "sample"> {
  const { value, file } = source;
  if (value === undefined) return { findings: source.findings };
  const problems: Problem[] = [];
  if (value.name !== nameOf(file)) {
    problems.push(
      error(
        "blueprint-name",
        ["name"],
        `the blueprint is called "${value.name}" and its file ${basename(file)}`,
        "give both the same name",
      ),
    );
  }
  const used = new Set<string>();
  let renders = true;
  for (const { text, path } of stringsOf(value.plan, ["plan"])) {
    const found = templateProblems(text, path, value.params);
    problems.push(...found.problems);
    for (const name of found.used) used.add(name);
    renders &&= found.problems.length === 0;
  }
  for (const name of Object.keys(value.params).filter((key) => !used.has(key))) {
    problems.push({
      severity: "warning",
      rule: "unused-param",
      path: ["params", name],
      message: `nothing reads params.${name}`,
      fix: "remove it",
    });
  }
  const samples = Object.fromEntries(Object.entries(value.params).map(([key, param]) => [key, param.default ?? param.example ?? key]));
  const rendered: Rendered = renders ? renderPlan(value, samples) : { problems: [] };
  const findings = sortFindings([...source.findings, ...[...problems, ...rendered.problems].map(source.place)]);
  const { draft } = rendered;
  if (draft === undefined || findings.some(({ severity }) => severity === "error")) return { findings };
  return { findings, sample: { draft, place: placeOf(source) } };
}

interface Rendered {
  draft?: PlanDraft;
  problems: Problem[];
}

/** The draft of a blueprint with these values, or what keeps it from being one. */
function renderPlan(blueprint: BlueprintFile, params: Record<string, string>, instead: Instead = {}): Rendered {
  const problems: Problem[] = [];
  const rendered = mapStrings(
    blueprint.plan,
    (text, path) => {
      try {
        return renderString(text, { params }, "");
      } catch (failed) {
        problems.push(error("template-error", path, (failed as Error).message, "correct the template"));
        return text;
      }
    },
    ["plan"],
  );
  if (problems.length > 0) return { problems };
  const raw = { ...(rendered as object), ...instead };
  const parsed = PlanDraft.safeParse(raw);
  const found = problemsOf(PlanDraft, raw, parsed.error?.issues ?? []).map((problem) => ({ ...problem, path: ["plan", ...problem.path] }));
  return parsed.success ? { draft: parsed.data, problems: found } : { problems: found };
}

function templateProblems(text: string, path: Path, params: BlueprintFile["params"]): { problems: Problem[]; used: string[] } {
  try {
    const { reads, templates } = templateReferences(text);
    const problems = reads.flatMap(({ path: read }): Problem[] => {
      const [first = "", second] = read;
      if (first === "params" && second !== undefined && Object.hasOwn(params, second)) return [];
      const names = Object.keys(params).map((name) => `params.${name}`);
      const near = didYouMean(read.join("."), names);
      const fix = near === undefined ? `declare it under params; there is ${names.join(", ") || "none"}` : `did you mean "${near}"?`;
      return [error("undefined-variable", path, `the variable "${read.join(".")}" has no value here`, fix)];
    });
    const pulled = templates.map(({ name }) =>
      error("template-error", path, `a blueprint cannot include "${name}"`, "write the text here"),
    );
    return { problems: [...problems, ...pulled], used: reads.map(({ path: read }) => read[1] ?? "") };
  } catch (failed) {
    return { problems: [error("template-error", path, templateError(failed, "").message, "correct the template")], used: [] };
  }
}

function findBlueprint(dirs: readonly string[], name: string): Source {
  const files = dirs.flatMap(blueprintFiles);
  const file = files.find((known) => nameOf(known) === name);
  if (file !== undefined) return readYamlFile(file, BlueprintFile);
  const names = [...new Set(files.map(nameOf))].toSorted();
  throw new UserError(`There is no blueprint "${name}"${suggestion(name, names)}.`, {
    exit: "notFound",
    hint: names.length === 0 ? `none is in ${dirs.join(" or ")}` : `known: ${names.join(", ")}`,
  });
}

function placeOf({ place }: Source): Applied["place"] {
  return (problem) =>
    place({ ...problem, path: ["plan", ...problem.path], ...(problem.other ? { other: ["plan", ...problem.other] } : {}) });
}

function blueprintFiles(dir: string): string[] {
  try {
    return readdirSync(dir)
      .filter((name) => /\.ya?ml$/.test(name) && !name.startsWith("."))
      .toSorted()
      .map((name) => join(dir, name));
  } catch (failed) {
    const { code } = failed as NodeJS.ErrnoException;
    if (code === "ENOENT") return [];
    throw new UserError(`The blueprint folder ${dir} cannot be read (${code}).`, { exit: "invalid", hint: "make it a readable folder" });
  }
}

function nameOf(file: string): string {
  return basename(file).replace(/\.ya?ml$/, "");
}

/** Every text of a value with its path. */
function stringsOf(value: unknown, path: Path): { text: string; path: Path }[] {
  const found: { text: string; path: Path }[] = [];
  mapStrings(
    value,
    (text, at) => {
      found.push({ text, path: at });
      return text;
    },
    path,
  );
  return found;
}

/** The same value with each of its texts changed; keys stay as they are. */
function mapStrings(value: unknown, change: (text: string, path: Path) => string, path: Path = []): unknown {
  if (typeof value === "string") return change(value, path);
  if (Array.isArray(value)) return value.map((item, i) => mapStrings(item, change, [...path, i]));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapStrings(item, change, [...path, key])]));
}

/** A text as a template that gives it back: values become their parameters, and braces that mean nothing stay so. */
function asTemplate(text: string, values: readonly [string, string][]): string {
  const [first, ...rest] = values;
  // A brace at the end may come to stand before those of a parameter.
  if (first === undefined) return text.replace(/\{(?:[{%#]|$)/g, '{{ "$&" }}');
  const [key, value] = first;
  return text
    .split(value)
    .map((part) => asTemplate(part, rest))
    .join(`{{ params.${key} }}`);
}

function withoutEmpty(value: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).filter(([, item]) => item !== undefined && item !== "" && !(Array.isArray(item) && item.length === 0)),
  );
}

function error(rule: string, path: Path, message: string, fix: string): Problem {
  return { severity: "error", rule, path, message, fix };
}
