/** Turns what zod says about a value into what a person wants to know: what was expected, what is there, how to fix it. */
import * as z from "zod";
import { didYouMean, type Problem } from "../domain/errors.ts";

type Issue = z.core.$ZodIssue;
type Path = (string | number)[];
type Described = { rule: string; message: string; fix: string };

/** The problems behind zod's issues, plus a warning for every unknown key of an object that allows unknown keys. */
export function problemsOf(schema: z.ZodType, raw: unknown, issues: readonly Issue[]): Problem[] {
  return [...issues.flatMap((issue) => fromIssue(schema, raw, issue, [])), ...unknownKeys(schema, raw, [])];
}

function fromIssue(schema: z.ZodType, raw: unknown, issue: Issue, prefix: Path): Problem[] {
  const path = [...prefix, ...(issue.path as Path)];
  const value = valueAt(raw, path);
  const part = schemaAt(schema, raw, path);
  const error = ({ rule, message, fix }: Described): Problem => ({ severity: "error", rule, path, message, fix });
  switch (issue.code) {
    case "unrecognized_keys": {
      const known = part instanceof z.ZodObject ? Object.keys(part.shape) : enumKeys(part);
      return issue.keys.map((key) => ({ severity: "error", path: [...path, key], ...unknownKey(key, known) }));
    }
    case "invalid_key":
      return [
        error({
          rule: "bad-key",
          message: `"${String(path.at(-1))}": ${issue.issues[0]?.message ?? "not allowed here"}`,
          fix: "rename it",
        }),
      ];
    case "invalid_union":
      return fromUnion(schema, raw, issue, path);
    case "invalid_type":
      if (value === undefined)
        return [
          error({ rule: "missing", message: `"${String(path.at(-1) ?? "content")}" is required`, fix: `add it (${expected(part)})` }),
        ];
      return [
        error({ rule: "wrong-type", message: `expected ${expected(part)}, got ${shown(value, path)}`, fix: typeFix(value, part, path) }),
      ];
    case "invalid_value": {
      const names = issue.values.map(String);
      const near = typeof value === "string" ? didYouMean(value, names) : undefined;
      return [
        error({
          rule: "bad-value",
          message: `expected ${names.join(" | ")}, got ${shown(value, path)}`,
          fix: near === undefined ? `use one of ${names.join(", ")}` : `did you mean "${near}"?`,
        }),
      ];
    }
    case "too_small":
    case "too_big":
      return [error(outOfRange(part, value, path))];
    default:
      return [error({ rule: "bad-value", message: `${issue.message}, got ${shown(value, path)}`, fix: "change the value" })];
  }
}

function fromUnion(schema: z.ZodType, raw: unknown, issue: Extract<Issue, { code: "invalid_union" }>, path: Path): Problem[] {
  const value = valueAt(raw, path);
  if ("discriminator" in issue && issue.discriminator !== undefined) {
    const around = schemaAt(schema, raw, path.slice(0, -1));
    const names = around instanceof z.ZodDiscriminatedUnion ? tagsOf(around) : [];
    const near = typeof value === "string" ? didYouMean(value, names) : undefined;
    const message = value === undefined ? `"${issue.discriminator}" is required` : `${shown(value, path)} is no ${issue.discriminator}`;
    const fix = near === undefined ? `use one of ${names.join(", ")}` : `did you mean "${near}"? (known: ${names.join(", ")})`;
    return [{ severity: "error", rule: value === undefined ? "missing" : "bad-value", path, message, fix }];
  }
  // The branch that gets past the outermost type is the one that was meant.
  const meant = issue.errors.find((branch) => branch.every((inner) => inner.path.length > 0 || inner.code !== "invalid_type"));
  if (meant) return meant.flatMap((inner) => fromIssue(schema, raw, inner, path));
  const what = expected(schemaAt(schema, raw, path));
  const rule = value === undefined ? "missing" : "wrong-type";
  return [{ severity: "error", rule, path, message: `expected ${what}, got ${shown(value, path)}`, fix: `write ${what}` }];
}

function unknownKeys(schema: z.ZodType, value: unknown, path: Path): Problem[] {
  const part = unwrap(schema, value);
  if (Array.isArray(value) && part instanceof z.ZodArray) {
    return value.flatMap((item, i) => unknownKeys(part.element as z.ZodType, item, [...path, i]));
  }
  if (!isRecord(value)) return [];
  if (part instanceof z.ZodRecord) {
    return Object.entries(value).flatMap(([key, item]) => unknownKeys(part.valueType as z.ZodType, item, [...path, key]));
  }
  if (!(part instanceof z.ZodObject)) return [];
  const loose = part.def.catchall instanceof z.ZodUnknown;
  return Object.entries(value).flatMap(([key, item]): Problem[] => {
    const inner = Object.hasOwn(part.shape, key) ? (part.shape[key] as z.ZodType) : undefined;
    if (inner) return unknownKeys(inner, item, [...path, key]);
    return loose ? [{ severity: "warning", path: [...path, key], ...unknownKey(key, Object.keys(part.shape)) }] : [];
  });
}

function unknownKey(key: string, known: string[]): Described {
  const near = didYouMean(key, known);
  const fix = near === undefined ? `remove it; known keys are ${known.join(", ")}` : `did you mean "${near}"?`;
  return { rule: "unknown-key", message: `unknown key "${key}"`, fix };
}

function outOfRange(part: z.ZodType | undefined, value: unknown, path: Path): Described {
  const rule = "out-of-range";
  if (part instanceof z.ZodNumber) {
    const why = (part.maxValue ?? 0) >= 24 * 3600 ? "; timers cannot count beyond 30 days" : "";
    return { rule, message: `expected ${expected(part)}, got ${shown(value, path)}`, fix: `use a value in that range${why}` };
  }
  if (value === "" || (Array.isArray(value) && value.length === 0))
    return { rule, message: "must not be empty", fix: "give it a value, or remove the key" };
  return { rule, message: `the length is out of range, got ${shown(value, path)}`, fix: "shorten or lengthen it" };
}

function typeFix(value: unknown, part: z.ZodType | undefined, path: Path): string {
  if (part instanceof z.ZodNumber && typeof value === "string" && value.trim() !== "" && Number.isFinite(Number(value)))
    return `write ${value} without quotes`;
  if (part instanceof z.ZodBoolean && typeof value === "string") return "YAML 1.2 knows true and false only";
  if (part instanceof z.ZodString && (typeof value === "number" || typeof value === "boolean"))
    return path.includes("env") ? "put it in quotes" : `put it in quotes: "${value}"`;
  if (part instanceof z.ZodArray) return "write a list: [a, b]";
  return `write ${expected(part)}`;
}

function expected(part: z.ZodType | undefined): string {
  if (part instanceof z.ZodString) return "text";
  if (part instanceof z.ZodBoolean) return "true or false";
  if (part instanceof z.ZodArray) return "a list";
  if (part instanceof z.ZodObject || part instanceof z.ZodRecord || part instanceof z.ZodDiscriminatedUnion) return "a mapping";
  if (part instanceof z.ZodEnum) return part.options.join(" | ");
  if (part instanceof z.ZodUnion) return part.options.map((option) => expected(unwrap(option as z.ZodType, undefined))).join(" or ");
  return part instanceof z.ZodNumber ? expectedNumber(part) : "another value";
}

function expectedNumber(part: z.ZodNumber): string {
  const kind = part.isInt ? "a whole number" : "a number";
  const { minValue, maxValue } = part;
  // Whole numbers carry the range that JavaScript can count exactly; it is nobody's setting.
  const top = maxValue === null || maxValue >= Number.MAX_SAFE_INTEGER ? undefined : maxValue;
  if (minValue === null || minValue <= Number.MIN_SAFE_INTEGER) return top === undefined ? kind : `${kind} up to ${top}`;
  const above = (part.def.checks ?? []).some(({ _zod: { def } }) => def.check === "greater_than" && "inclusive" in def && !def.inclusive);
  if (above) return `${kind} greater than ${minValue}${top === undefined ? "" : ` and at most ${top}`}`;
  return top === undefined ? `${kind} of at least ${minValue}` : `${kind} from ${minValue} to ${top}`;
}

// Values below `env` may be secrets; they are never repeated.
function shown(value: unknown, path: Path): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null (no value)";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  if (path.includes("env")) return `a ${typeof value}`;
  if (typeof value === "number") return String(value);
  const text = JSON.stringify(value);
  return `${typeof value} ${text.length > 60 ? `${text.slice(0, 57)}…"` : text}`;
}

function enumKeys(part: z.ZodType | undefined): string[] {
  return part instanceof z.ZodRecord && part.keyType instanceof z.ZodEnum ? part.keyType.options.map(String) : [];
}

function tagsOf(union: z.ZodDiscriminatedUnion): string[] {
  return union.options.flatMap((option) => {
    const tag = option instanceof z.ZodObject ? option.shape[union.def.discriminator] : undefined;
    return tag instanceof z.ZodLiteral ? [...tag.values].map(String) : [];
  });
}

/** The schema of a value without its optional, nullable and default wrappers, and the union branch that fits the value. */
function unwrap(schema: z.ZodType | undefined, value: unknown): z.ZodType | undefined {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable || schema instanceof z.ZodDefault) {
    return unwrap(schema.def.innerType as z.ZodType, value);
  }
  if (schema instanceof z.ZodDiscriminatedUnion && isRecord(value)) {
    const { discriminator } = schema.def;
    const tag = value[discriminator];
    return (
      schema.options.find((option): option is z.ZodObject => {
        const literal = option instanceof z.ZodObject ? option.shape[discriminator] : undefined;
        return literal instanceof z.ZodLiteral && literal.values.has(tag as never);
      }) ?? schema
    );
  }
  if (schema instanceof z.ZodUnion && typeof value === "object" && value !== null) {
    const kind = Array.isArray(value) ? z.ZodArray : z.ZodObject;
    return (schema.options.find((option) => option instanceof kind) as z.ZodType | undefined) ?? schema;
  }
  return schema;
}

function schemaAt(schema: z.ZodType, raw: unknown, path: Path): z.ZodType | undefined {
  let part: z.ZodType | undefined = unwrap(schema, raw);
  let value = raw;
  for (const step of path) {
    value = valueAt(value, [step]);
    if (part instanceof z.ZodObject)
      part = Object.hasOwn(part.shape, String(step)) ? unwrap(part.shape[String(step)] as z.ZodType, value) : undefined;
    else if (part instanceof z.ZodRecord) part = unwrap(part.valueType as z.ZodType, value);
    else if (part instanceof z.ZodArray) part = unwrap(part.element as z.ZodType, value);
    else return undefined;
  }
  return part;
}

function valueAt(value: unknown, path: Path): unknown {
  let at: unknown = value;
  for (const step of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, step)) return undefined;
    at = (at as Record<string | number, unknown>)[step];
  }
  return at;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
