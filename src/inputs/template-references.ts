/** Which variables a Nunjucks template reads, found without rendering it. */
import nunjucks from "nunjucks";

/** A variable that a template reads. Line and column count from 1. */
export interface Reference {
  /** `["context", "pr_number"]` for `context.pr_number`. */
  path: string[];
  line: number;
  column: number;
  /** It may be missing: it is tested by an `if` here or around here, has a `default`, or stands before `or`. */
  guarded: boolean;
}

/** What a template reads and which templates it pulls in by a literal name. */
export interface References {
  reads: Reference[];
  templates: { name: string; line: number; optional: boolean }[];
  /** Names that the template makes itself: loop variables, `set`, macros, imports. */
  locals: Set<string>;
}

// Nunjucks gives its parser out, but not its types.
interface TemplateNode {
  typename: string;
  lineno: number;
  colno: number;
  fields: string[];
  [field: string]: unknown;
}
const { parser } = nunjucks as unknown as { parser: { parse(source: string): TemplateNode } };

interface Around {
  guards: ReadonlySet<string>;
  /** Inside a condition, where a missing value is an answer. */
  soft: boolean;
}

/** Parses a template; throws nunjucks' TemplateError for bad syntax. */
export function templateReferences(source: string): References {
  const found: References = { reads: [], templates: [], locals: new Set(["loop", "caller", "super"]) };
  walk(parser.parse(source), { guards: new Set(), soft: false }, found);
  found.reads = found.reads.filter(({ path }) => !found.locals.has(path[0] ?? ""));
  return found;
}

function walk(node: unknown, around: Around, found: References): void {
  if (Array.isArray(node)) {
    for (const item of node) walk(item, around, found);
    return;
  }
  if (!isNode(node)) return;
  const each = (fields: string[], here = around) => {
    for (const field of fields) walk(node[field], here, found);
  };
  const soft = { ...around, soft: true };
  switch (node.typename) {
    case "Symbol":
    case "LookupVal": {
      const path = pathOf(node);
      if (path === undefined) {
        each(["target", "val"]);
        return;
      }
      const guarded = around.soft || path.some((_, i) => around.guards.has(path.slice(0, i + 1).join(".")));
      found.reads.push({ path, line: node.lineno + 1, column: node.colno + 1, guarded });
      return;
    }
    case "If":
    case "IfAsync":
    case "InlineIf": {
      each(["cond"], soft);
      each(["body", "else_"], guardedBy(node.cond, around));
      return;
    }
    case "And":
      each(["left"], soft);
      each(["right"], guardedBy(node.left, around));
      return;
    case "Or":
      each(["left"], soft);
      each(["right"]);
      return;
    case "Is":
      each(["left"], soft);
      return;
    case "Filter":
    case "FilterAsync": {
      const [value, ...rest] = childrenOf(node.args);
      const name = (node.name as TemplateNode).value;
      walk(value, name === "default" || name === "d" ? soft : around, found);
      walk(rest, around, found);
      return;
    }
    case "For":
    case "AsyncEach":
    case "AsyncAll":
      declare(node.name, found);
      each(["arr", "body", "else_"]);
      return;
    case "Set":
      declare(node.targets, found);
      each(["value", "body"]);
      return;
    case "Macro":
    case "Caller":
      declare(node.name, found);
      declare(node.args, found);
      each(["body"]);
      return;
    case "Block":
      each(["body"]);
      return;
    case "Pair":
      each(["value"]);
      return;
    case "Import":
    case "FromImport":
    case "Include":
    case "Extends":
    case "TemplateRef":
      declare(node.target ?? node.names, found);
      takeTemplate(node, around, found);
      return;
    default:
      each(node.fields);
  }
}

function takeTemplate(node: TemplateNode, around: Around, found: References): void {
  const template = node.template;
  if (!isNode(template) || template.typename !== "Literal") {
    walk(template, around, found);
    return;
  }
  found.templates.push({ name: String(template.value), line: node.lineno + 1, optional: node.ignoreMissing === true });
}

function guardedBy(condition: unknown, around: Around): Around {
  const tested: References = { reads: [], templates: [], locals: new Set() };
  walk(condition, { guards: new Set(), soft: true }, tested);
  return { ...around, guards: new Set([...around.guards, ...tested.reads.map(({ path }) => path.join("."))]) };
}

// Names are kept for the whole template: a scope more or less matters little to a reader of findings.
function declare(node: unknown, found: References): void {
  if (Array.isArray(node)) for (const item of node) declare(item, found);
  if (!isNode(node)) return;
  if (node.typename === "Symbol") found.locals.add(String(node.value));
  else if (node.typename === "Pair") declare([node.key, node.value], found);
  else declare(node.children, found);
}

function pathOf(node: TemplateNode): string[] | undefined {
  if (node.typename === "Symbol") return [String(node.value)];
  const target = node.target;
  const val = node.val;
  if (node.typename !== "LookupVal" || !isNode(target) || !isNode(val) || val.typename !== "Literal") return undefined;
  const path = pathOf(target);
  return path && typeof val.value === "string" ? [...path, val.value] : undefined;
}

function childrenOf(node: unknown): unknown[] {
  return isNode(node) && Array.isArray(node.children) ? node.children : [];
}

function isNode(value: unknown): value is TemplateNode {
  return typeof value === "object" && value !== null && "typename" in value;
}
