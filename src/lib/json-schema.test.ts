import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { z } from "zod";
import { ConfigFile } from "../domain/config.ts";
import { Plan } from "../domain/plan.ts";
import { TicketFile } from "../domain/ticket.ts";
import { checkOf } from "./json-schema.ts";

function schemaFile(name: string) {
  return JSON.parse(readFileSync(join(import.meta.dirname, "../../docs/schema", `${name}.schema.json`), "utf8"));
}

const at = "2026-01-01T00:00:00.000Z";
const session = { id: "s-1", provider: "claude" };
const usage = { inputTokens: 1, outputTokens: 2 };
const samples: [string, z.ZodType, Record<string, unknown>][] = [
  [
    "ticket",
    TicketFile,
    {
      planId: "p",
      ticketId: "A",
      priority: "P1",
      status: "running",
      activity: { state: "running", runId: "0001-a", since: at, stop: { next: "enter", phase: "b" } },
      hold: { by: "ada", at, reason: "" },
      currentSession: session,
      phaseHistory: [{ phase: "a", status: "success", startedAt: at, session, usage, category: "test", costUsd: 0.5 }],
      context: { a: "1" },
      visits: { a: 1 },
      more: { unknown: [1] },
    },
  ],
  [
    "plan",
    Plan,
    {
      id: "p",
      status: "active",
      maxParallel: 2,
      checks: { a: "x", b: ["y", "z"] },
      tickets: [{ ticketId: "A", blockedBy: ["B"], order: 1 }],
    },
  ],
  [
    "config",
    ConfigFile,
    {
      defaultAgent: "a",
      agents: { a: { command: "x", env: { A: "1" }, maxConcurrency: 2 } },
      pollInterval: 1.5,
      notifyCommand: ["a"],
      git: { name: "a", email: "b" },
      mcpServers: { m: { command: "x", args: ["y"] } },
    },
  ],
];

/** The places of everything inside a value. */
function placesIn(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== "object" || value === null) return [path];
  return [...(path.length === 0 ? [] : [path]), ...Object.entries(value).flatMap(([key, item]) => placesIn(item, [...path, key]))];
}

/** A copy with something else, or nothing, at one place. */
function changed(sample: Record<string, unknown>, path: string[], to: unknown): Record<string, unknown> {
  const copy = structuredClone(sample);
  const parent = path.slice(0, -1).reduce((node, key) => node[key] as Record<string, unknown>, copy);
  const last = path.at(-1) ?? "";
  if (to !== undefined) parent[last] = to;
  else if (Array.isArray(parent)) parent.pop();
  else delete parent[last];
  return copy;
}

const others = fc.oneof(fc.constantFrom(undefined, null, "", [], {}, [""], -1, 0, 0.5, 1e300, true), fc.jsonValue({ maxDepth: 1 }));

describe("checks made of docs/schema", () => {
  it.each(samples)("agree with the schema library on %s files that are changed anywhere", (name, schema, sample) => {
    const places = placesIn(sample);
    const keys = Object.keys((schema as z.ZodObject).shape).map((key) => [key]);
    const check = checkOf(schemaFile(name));
    expect(check(structuredClone(sample))).toBe(true);
    fc.assert(
      fc.property(fc.constantFrom(...places, ...keys), others, (path, to) => {
        const value = changed(sample, path, to);
        const parsed = schema.safeParse(value);
        // What an id may be is no matter of its shape.
        expect(check(structuredClone(value))).toBe(parsed.success || isAboutIds(parsed.error));
      }),
      { numRuns: 3000 },
    );
  });

  it.each(samples)("fill in the defaults of %s files", (name, schema, sample) => {
    const value = structuredClone(sample);
    checkOf(schemaFile(name))(value);
    expect(value).toEqual(schema.parse(sample));
  });

  it("refuse unknown keys where they are asked to", () => {
    const check = checkOf(schemaFile("config"), { refuseUnknownKeys: true });
    const values = [{}, { colour: 1 }].map((more) => ({ defaultAgent: "a", agents: { a: { command: "x", ...more } } }));
    expect(values.map(check)).toEqual([true, false]);
  });

  it("throw for what they do not know", () => {
    expect(() => checkOf({ type: "string", format: "date" })).toThrow('"format"');
    expect(() => checkOf({ type: "bigint" })).toThrow('"bigint"');
  });
});

function isAboutIds(error: z.ZodError | undefined): boolean {
  return error?.issues.every(({ code }) => code === "custom") ?? false;
}
