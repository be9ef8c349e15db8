/** Says yes or no to a value, and fills in the defaults of what it says yes to. */
export type Check = (value: unknown) => boolean;

/** A JSON Schema, as far as ours for files go. */
export type JsonSchema = { readonly [keyword: string]: unknown };

export interface CheckOptions {
  /** Refuses keys that the schema does not name, also where it allows them. */
  refuseUnknownKeys?: boolean;
}

/**
 * The check that a JSON Schema means: it is ready in a millisecond, where the schema library takes forty, but it cannot
 * say what is wrong. Throws for a keyword that it does not know.
 */
export function checkOf(schema: JsonSchema, options: CheckOptions = {}): Check {
  for (const keyword of Object.keys(schema)) if (!known.has(keyword)) throw new Error(`this check does not know "${keyword}"`);
  const checks = [choiceCheck(schema, options), ...typeChecks(schema, options)].filter((check) => check !== undefined);
  const [only = () => true, ...more] = checks;
  return more.length === 0 ? only : (value) => checks.every((check) => check(value));
}

const known = new Set(
  `$schema type const enum anyOf oneOf default pattern minLength maxLength minimum maximum exclusiveMinimum
   items minItems maxItems properties required additionalProperties propertyNames`.split(/\s+/),
);

/** The variants of a `oneOf` of ours exclude each other by a constant, so the first that fits is the only one. */
function choiceCheck(schema: JsonSchema, options: CheckOptions): Check | undefined {
  const variants = (schema.anyOf ?? schema.oneOf) as JsonSchema[] | undefined;
  const checks = variants?.map((variant) => checkOf(variant, options));
  return checks && ((value) => checks.some((check) => check(value)));
}

function typeChecks(schema: JsonSchema, options: CheckOptions): Check[] {
  const { type, enum: values, const: constant } = schema;
  const checks: Check[] = [];
  if (type !== undefined) {
    const types = [type].flat().map((name) => checkOfType(String(name), schema, options));
    checks.push(types.length === 1 && types[0] ? types[0] : (value) => types.some((check) => check(value)));
  }
  if (Array.isArray(values)) checks.push((value) => values.includes(value));
  if (constant !== undefined) checks.push((value) => value === constant);
  return checks;
}

function checkOfType(type: string, schema: JsonSchema, options: CheckOptions): Check {
  switch (type) {
    case "null":
      return (value) => value === null;
    case "boolean":
      return (value) => typeof value === "boolean";
    case "string":
      return stringCheck(schema);
    case "integer":
    case "number":
      return numberCheck(schema, type === "integer");
    case "array":
      return arrayCheck(schema, options);
    case "object":
      return objectCheck(schema, options);
    default:
      throw new Error(`this check does not know the type "${type}"`);
  }
}

function stringCheck({ pattern, minLength = 0, maxLength = Number.POSITIVE_INFINITY }: JsonSchema): Check {
  const form = pattern === undefined ? undefined : new RegExp(String(pattern));
  return (value) =>
    typeof value === "string" && value.length >= Number(minLength) && value.length <= Number(maxLength) && (form?.test(value) ?? true);
}

function numberCheck({ minimum, maximum, exclusiveMinimum }: JsonSchema, whole: boolean): Check {
  const least = Number(minimum ?? Number.NEGATIVE_INFINITY);
  const most = Number(maximum ?? Number.POSITIVE_INFINITY);
  const above = Number(exclusiveMinimum ?? Number.NEGATIVE_INFINITY);
  return (value) =>
    (whole ? Number.isInteger(value) : Number.isFinite(value)) &&
    (value as number) >= least &&
    (value as number) <= most &&
    (value as number) > above;
}

function arrayCheck({ items, minItems = 0, maxItems = Number.POSITIVE_INFINITY }: JsonSchema, options: CheckOptions): Check {
  const check = checkOf((items ?? {}) as JsonSchema, options);
  const fits = ({ length }: unknown[]) => length >= Number(minItems) && length <= Number(maxItems);
  return (value) => Array.isArray(value) && fits(value) && value.every(check);
}

function objectCheck(schema: JsonSchema, options: CheckOptions): Check {
  const properties = Object.entries((schema.properties ?? {}) as Record<string, JsonSchema>);
  const required = (schema.required ?? []) as string[];
  const checks = new Map(properties.map(([key, property]) => [key, checkOf(property, options)]));
  const defaults = properties.flatMap(([key, { default: initial }]): [string, () => unknown][] =>
    initial === undefined ? [] : [[key, typeof initial === "object" && initial !== null ? () => structuredClone(initial) : () => initial]],
  );
  const others = checkOf((schema.additionalProperties ?? {}) as JsonSchema, options);
  const refuses = options.refuseUnknownKeys && properties.length > 0;
  return (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
    const object = value as Record<string, unknown>;
    for (const key of required) if (!Object.hasOwn(object, key)) return false;
    for (const key of Object.keys(object)) {
      const check = checks.get(key);
      if (check ? !check(object[key]) : refuses || !others(object[key])) return false;
    }
    for (const [key, initial] of defaults) if (!Object.hasOwn(object, key)) object[key] = initial();
    return true;
  };
}
