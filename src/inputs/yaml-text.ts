/** YAML without schemas: what needs nothing but a few values of a file should not have to load them. */
import { type Document, isAlias, isMap, isScalar, isSeq, Lexer, LineCounter, type Node, parseAllDocuments, visit } from "yaml";
import type { Finding, Problem } from "../domain/errors.ts";
import { quoteAt } from "./quote.ts";

type Path = (string | number)[];

/** YAML text that was parsed. */
export interface YamlText {
  /** The content; undefined when there are findings. */
  raw: unknown;
  /** Everything that is wrong with it as YAML; all of them are errors. */
  findings: Finding[];
  /** Adds file, line and column to a rule's problem. */
  place(problem: Problem): Finding;
}

const maxFlowDepth = 64;
const maxIndent = 256;
const maxCompactDepth = 32;
const maxAliases = 100;

/** Parses YAML text, but for what it holds; `file` is its name in findings. Never throws for what is in it. */
export function parseYamlText(text: string, file: string): YamlText {
  const deep = tooDeep(text);
  if (deep !== undefined) return broken(file, syntax(file, text, deep, "too-deep", "nested too deeply", "flatten the structure"));

  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false, logLevel: "error" });
  const doc = documents[0];
  if (!Array.isArray(documents) || doc === undefined) {
    return broken(file, syntax(file, text, 0, "empty", "the file is empty", "fill it in, or remove it"));
  }
  const at = (offset: number) => position(lines, offset);
  const findings = syntaxFindings(documents, file, (offset) => ({ ...at(offset), ...quoteAt(text, offset) }));
  if (findings.length > 0) return broken(file, ...findings);

  let raw: unknown;
  try {
    raw = doc.toJS({ maxAliasCount: maxAliases });
  } catch (error) {
    return broken(file, syntax(file, text, 0, "alias", (error as Error).message, "write the values out instead of using aliases"));
  }
  const place = (problem: Problem): Finding => {
    const { path, other, rule, message, ...rest } = problem;
    const spot = at(offsetOf(doc, path, rule === "unknown-key" || rule === "bad-key"));
    const also = other === undefined ? "" : ` (the other one is on line ${at(offsetOf(doc, other, false)).line})`;
    return { ...rest, rule, file, ...spot, field: fieldName(path), message: message + also };
  };
  return { raw, findings, place };
}

/** A text of which nothing can be used; its findings say why. */
export function broken(file: string, ...findings: Finding[]): YamlText {
  const place = ({ path, other: _, ...rest }: Problem): Finding => ({ ...rest, file, line: 1, column: 1, field: fieldName(path) });
  return { raw: undefined, findings, place };
}

/** `["phases", 2, "onSuccess"]` as `phases[2].onSuccess`. */
export function fieldName(path: Path): string {
  return path.map((step, i) => (typeof step === "number" ? `[${step}]` : i === 0 ? step : `.${step}`)).join("");
}

function syntax(file: string, text: string, offset: number, rule: string, message: string, fix: string): Finding {
  const before = text.slice(0, offset).split("\n");
  const place = { line: before.length, column: (before.at(-1)?.length ?? 0) + 1, ...quoteAt(text, offset) };
  return { severity: "error", rule, file, ...place, field: "", message, fix };
}

// An offset at or behind the end has no line of its own.
function position(lines: LineCounter, offset: number): { line: number; column: number } {
  const { line, col } = lines.linePos(Math.max(0, offset));
  return { line: Math.max(1, line), column: Math.max(1, col) };
}

/**
 * Where the text nests deeper than anybody writes, or undefined. The parser is recursive: a few thousand nested
 * sequences do not only overflow its stack, they can abort the whole process. The lexer is not.
 */
function tooDeep(text: string): number | undefined {
  if (isShallow(text)) return undefined;
  let offset = 0;
  let flow = 0;
  let compact = 0;
  let lineStart = true;
  for (const token of new Lexer().lex(text)) {
    if (token === "\n" || token === "\r\n") compact = 0;
    else if (token === "[" || token === "{") flow++;
    else if (token === "]" || token === "}") flow = Math.max(0, flow - 1);
    else if (token === "-" || token === "?") compact++;
    else if (lineStart && token.trim() === "" && token.length > maxIndent) return offset;
    if (flow > maxFlowDepth || compact > maxCompactDepth) return offset;
    lineStart = token.endsWith("\n");
    // These mark documents, scalars and flow ends; they are not in the text.
    if (!["\u0002", "\u0018", "\u001f"].includes(token)) offset += token.length;
  }
  return undefined;
}

/** Whether the text has too few brackets, and its lines too few characters, to nest deeply: true of most, and seen at once. */
function isShallow(text: string): boolean {
  const count = (part: string, mark: RegExp) => part.match(mark)?.length ?? 0;
  if (count(text, /[[{]/g) > maxFlowDepth) return false;
  return text.split("\n").every((line) => line.length <= maxIndent && count(line, /[-?]/g) <= maxCompactDepth);
}

const syntaxFixes: Record<string, string> = {
  TAB_AS_INDENT: "indent with spaces",
  DUPLICATE_KEY: "keep one of the two",
  BAD_INDENT: "align it with its neighbours, and close every bracket",
  MISSING_CHAR: "add the missing character",
  BLOCK_AS_IMPLICIT_KEY: "put a value with a colon in quotes",
  BAD_SCALAR_START: "put the value in quotes",
};

function syntaxFindings(
  documents: Document.Parsed[],
  file: string,
  at: (offset: number) => Pick<Finding, "line" | "column" | "quote">,
): Finding[] {
  const findings: Finding[] = [];
  const add = (offset: number, rule: string, message: string, fix: string) =>
    findings.push({ severity: "error", rule, file, ...at(offset), field: "", message, fix });
  for (const [index, doc] of documents.entries()) {
    if (index === 1) add(doc.range[0], "several-documents", "the file holds several YAML documents", 'keep one; remove the line "---"');
    for (const error of [...doc.errors, ...doc.warnings]) {
      const fix = syntaxFixes[error.code] ?? "correct the YAML here";
      add(error.pos[0], error.code.toLowerCase().replaceAll("_", "-"), error.message, fix);
    }
    if (doc.directives.yaml.explicit && doc.directives.yaml.version !== "1.2") {
      add(0, "yaml-version", `YAML ${doc.directives.yaml.version} is not read here`, 'remove the line "%YAML"');
    }
    visit(doc, {
      Pair(_, pair) {
        const key = pair.key as Node;
        const offset = key.range?.[0] ?? 0;
        if (!isScalar(key)) add(offset, "key", "a key must be plain text", "use a simple name as the key");
        else if (key.value === "__proto__") add(offset, "key", '"__proto__" cannot be a key', "choose another name");
      },
      Alias(_, alias) {
        if (alias.resolve(doc) === undefined) {
          add(
            alias.range?.[0] ?? 0,
            "alias",
            `*${alias.source} names no anchor above it`,
            "quote the value if the star is meant literally",
          );
        }
      },
    });
  }
  return findings;
}

/** The offset of what lies at a path; of its key for `wantKey`; of the nearest thing around it when it does not exist. */
function offsetOf(doc: Document.Parsed, path: Path, wantKey: boolean): number {
  let node: unknown = doc.contents;
  let offset = doc.contents?.range?.[0] ?? 0;
  for (const [i, step] of path.entries()) {
    if (isAlias(node)) node = node.resolve(doc);
    const last = i === path.length - 1;
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step));
      if (!pair) return offset;
      const key = (pair.key as Node).range?.[0] ?? offset;
      const value = (pair.value as Node | null)?.range?.[0] ?? key;
      offset = last && !wantKey ? value : key;
      node = pair.value;
    } else if (isSeq(node)) {
      const item = node.items[Number(step)] as Node | undefined;
      if (!item) return offset;
      offset = item.range?.[0] ?? offset;
      node = item;
    } else {
      return offset;
    }
  }
  return offset;
}
