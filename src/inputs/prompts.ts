import nunjucks from "nunjucks";
import { UserError } from "../domain/errors.ts";
import type { Plan } from "../domain/plan.ts";
import type { Resolved, TicketFile } from "../domain/ticket.ts";
import { readTextFile } from "./read-text.ts";
import { findInPath, requireInPath } from "./search-path.ts";
import { type Reference, type References, templateReferences } from "./template-references.ts";

export type Variables = Record<string, unknown>;

type Lookup = (object: unknown, key: unknown) => unknown;
type ContextLookup = (context: { ctx: object }, frame: { lookup(name: string): unknown }, name: string) => unknown;

// Nunjucks has no sandbox of its own: `{{ title.constructor.constructor("…")() }}` runs code. Its compiled templates
// reach every value through these two functions, so they see own data and nothing else. This program alone uses nunjucks.
const runtime = nunjucks.runtime as unknown as { memberLookup: Lookup; contextOrFrameLookup: ContextLookup };
runtime.memberLookup = ownValue;
runtime.contextOrFrameLookup = (context, frame, name) => frame.lookup(name) ?? ownValue(context.ctx, name);

/** Values that a template may use in the phase it is rendered for; made by the daemon for each run. */
export interface PhaseFacts {
  phase: string;
  /** The agent that is to run; "" in phases without one. */
  agent: string;
  /** Branch that the work is integrated into. */
  base: string;
  /** Commit that the ticket's branch starts from. */
  baseSha: string;
  /** 1 for the first run of this visit. */
  attempt: number;
  params: Record<string, string>;
  /** What failed before this run; absent when nothing did. */
  failureContext?: string;
  /** The text of the skills that are meant for it; absent when none are. */
  skills?: string;
}

/** Everything that templates can read. Captured values come first, so that a ticket's own fields win over them. */
export function templateVariables(ticket: TicketFile, plan: Plan, resolved: Resolved, facts: PhaseFacts): Variables {
  return {
    ...ticket.context,
    planId: ticket.planId,
    planName: plan.name,
    planGoal: plan.goal,
    ticketId: ticket.ticketId,
    title: ticket.title,
    description: ticket.description,
    acceptanceCriteria: ticket.acceptanceCriteria,
    acceptance_criteria_list: ticket.acceptanceCriteria.map((criterion) => `- ${criterion}`).join("\n"),
    linearUrl: ticket.linearUrl ?? "",
    repo: resolved.repo ?? "",
    workflow: resolved.workflow ?? "",
    branch: resolved.branch,
    worktree: resolved.worktree,
    agent: facts.agent,
    model: ticket.model ?? "",
    priority: ticket.priority ?? "",
    type: ticket.type ?? "",
    scope: ticket.scope,
    status: ticket.status,
    currentPhase: facts.phase,
    error: ticket.error ?? "",
    base: facts.base,
    baseSha: facts.baseSha,
    attempt: facts.attempt,
    failureContext: facts.failureContext ?? "",
    skills: facts.skills ?? "",
    context: { ...ticket.context },
    params: facts.params,
    feedback: Object.entries(ticket.feedback).map(([phase, text]) => ({ phase, text })),
  };
}

/** Renders a template of the search path. A missing template or variable, or an error in it, is a UserError with its place. */
export function renderPrompt(dirs: readonly string[], name: string, variables: Variables): string {
  const file = requireInPath(dirs, name, "prompt template");
  return render(readTemplate(file), file, variables, dirs);
}

/** Renders a short text such as a script's argument; `where` is its place in messages. It can include no template. */
export function renderString(text: string, variables: Variables, where: string): string {
  return text.includes("{") ? render(text, where, variables, []) : text;
}

/** Whether a template, or one that it includes by name, reads a variable. UserError for a template that is missing or has errors. */
export function templateReads(dirs: readonly string[], name: string, variable: string): boolean {
  const seen = new Set<string>();
  const reads = (file: string): boolean => {
    if (seen.has(file)) return false;
    seen.add(file);
    const found = templateReferences(readTemplate(file));
    if (found.reads.some(({ path }) => path[0] === variable)) return true;
    return found.templates.some((template) => {
      const inner = findInPath(dirs, template.name, "prompt template");
      return inner !== undefined && reads(inner);
    });
  };
  return reads(requireInPath(dirs, name, "prompt template"));
}

/** The text of a template file; UserError when it cannot be read. */
export function readTemplate(file: string): string {
  const read = readTextFile(file);
  if ("text" in read) return read.text;
  throw new UserError(`${file}: ${read.message}.`, { exit: "invalid", hint: "make it a readable UTF-8 text file of at most 1 MiB" });
}

/** The value at a path of own properties of plain data; undefined for everything else, methods and prototypes included. */
function ownValue(object: unknown, key: unknown): unknown {
  if (object === null || object === undefined || typeof object === "function") return undefined;
  if (typeof key !== "string" && typeof key !== "number") return undefined;
  if (key === "__proto__" || key === "constructor" || key === "prototype") return undefined;
  if (typeof object === "string") return key === "length" ? object.length : object[key as number];
  if (typeof object !== "object" || !Object.hasOwn(object, key)) return undefined;
  return (object as Record<string | number, unknown>)[key];
}

/** The variables by name, for messages: `title, …; context: pr_number`. */
export function describeVariables(variables: Variables): string {
  const inner = ["context", "params"].flatMap((name) => {
    const keys = Object.keys((variables[name] as object | undefined) ?? {});
    return keys.length === 0 ? [] : [`in ${name}: ${keys.join(", ")}`];
  });
  return [Object.keys(variables).join(", "), ...inner].join("; ");
}

/** Syntax errors and other troubles of nunjucks as a UserError with file and line; no place for an empty `file`. */
export function templateError(error: unknown, file: string): UserError {
  if (error instanceof UserError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const line = (error as { lineno?: number }).lineno ?? Number(/\[Line (\d+)/.exec(message)?.[1] ?? 1);
  const inner = /\(([^()\s]+)\)/.exec(message)?.[1];
  const place = inner?.startsWith("/") ? inner : file;
  const what = message
    .replace(/^(\(unknown path\)|\([^)]*\))\s*/, "")
    .replace(/^\[Line \d+, Column \d+\]\s*/, "")
    .trim();
  const where = place === "" ? "" : `${place}:${line}: `;
  return new UserError(where + what, {
    exit: "invalid",
    hint: "docs/prompts.md says what templates can do",
    cause: error,
  });
}

function render(source: string, file: string, variables: Variables, dirs: readonly string[]): string {
  checkTemplate(source, file, { variables, dirs, chain: [file], done: new Set(), locals: new Set() });
  const loader = { getSource: (name: string) => load(dirs, name) };
  const env = new nunjucks.Environment(loader as unknown as nunjucks.ILoader, { autoescape: false, throwOnUndefined: true });
  const own = env as unknown as { globals: object; filters: object; tests: object };
  own.globals = Object.create(null) as object;
  for (const table of [own.filters, own.tests]) Object.setPrototypeOf(table, null);
  env.addFilter("fenced", fenced);
  try {
    return new nunjucks.Template(source, env, file, true).render(variables);
  } catch (error) {
    throw templateError(error, file);
  }
}

function load(dirs: readonly string[], name: string): { src: string; path: string; noCache: true } | null {
  const file = findInPath(dirs, name, "prompt template");
  return file === undefined ? null : { src: readTemplate(file), path: file, noCache: true };
}

interface Check {
  variables: Variables;
  dirs: readonly string[];
  /** Files that are being included, outermost first. */
  chain: string[];
  done: Set<string>;
  locals: ReadonlySet<string>;
}

/** Nunjucks renders a missing variable to nothing in loops, filters and joins; here it is found before, wherever it stands. */
function checkTemplate(source: string, file: string, check: Check): void {
  let found: References;
  try {
    found = templateReferences(source);
  } catch (error) {
    throw templateError(error, file);
  }
  const locals = new Set([...check.locals, ...found.locals]);
  const missing = found.reads.find(
    (read) => !read.guarded && !locals.has(read.path[0] ?? "") && valueAt(check.variables, read) === undefined,
  );
  if (missing) {
    throw new UserError(`${file}:${missing.line}: the variable "${missing.path.join(".")}" has no value here.`, {
      exit: "invalid",
      hint: `known: ${describeVariables(check.variables)}; a value that may be missing needs {% if ${missing.path.join(".")} %} around it`,
    });
  }
  for (const { name, line, optional } of found.templates) {
    const inner = (optional ? findInPath : requireInPath)(check.dirs, name, "prompt template");
    if (inner === undefined || check.done.has(inner)) continue;
    if (check.chain.includes(inner)) {
      throw new UserError(`${file}:${line}: templates include each other: ${[...check.chain, inner].join(" → ")}.`, {
        exit: "invalid",
        hint: "remove one of the includes",
      });
    }
    checkTemplate(readTemplate(inner), inner, { ...check, locals, chain: [...check.chain, inner] });
    check.done.add(inner);
  }
}

/** The value that a reference has among the variables; null counts as missing, as it has no text. */
export function valueAt(variables: Variables, { path }: Pick<Reference, "path">): unknown {
  return path.reduce<unknown>((at, step) => ownValue(at, step), variables) ?? undefined;
}

/** Text of somebody else inside a code fence that is longer than any run of backticks in it, so that it cannot end early. */
export function fenced(value: unknown): string {
  const text = String(value ?? "");
  const longest = [...text.matchAll(/`+/g)].reduce((most, [run]) => Math.max(most, run.length), 2);
  const fence = "`".repeat(longest + 1);
  return `${fence}text\n${text.replace(/\n+$/, "")}\n${fence}`;
}
