import { execFile } from "node:child_process";
import { cpSync, globSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { ConfigFile } from "./domain/config.ts";
import { PlanDraft } from "./domain/draft.ts";
import { Plan } from "./domain/plan.ts";
import { TicketFile } from "./domain/ticket.ts";
import { WorkflowFile } from "./domain/workflow.ts";
import { tempDir } from "./testing/temp.ts";

const root = dirname(import.meta.dirname);

describe("docs/schema", () => {
  it.each([
    ["plan", Plan],
    ["ticket", TicketFile],
    ["workflow", WorkflowFile],
    ["config", ConfigFile],
    ["plan-draft", PlanDraft],
  ])("describes %s files as the program reads them", async (name, schema) => {
    const text = `${JSON.stringify(z.toJSONSchema(schema, { io: "input" }), null, 2)}\n`;
    await expect(text).toMatchFileSnapshot(`../docs/schema/${name}.schema.json`);
  });
});

/** Where the keys of a schema are declared: in a file of src/domain/, under names that `declares` accepts. */
interface Declared {
  name: string;
  file: string;
  declares: RegExp;
}

/**
 * The keys of each schema by its name, and which of all of them no code reads; no key may be in two of the schemas. The keys are
 * renamed in a copy of src/; then the compiler names every place that reads one. Unlike a text search this tells `phase.env` from
 * `process.env`. Keys that say which variant it is are left out.
 */
async function keysAndReaders(schemas: readonly Declared[]): Promise<{ keys: Record<string, string[]>; unread: Set<string> }> {
  const dir = tempDir();
  cpSync(join(root, "src"), join(dir, "src"), {
    recursive: true,
    filter: (path) => !/\.test\.ts$|\/src\/testing(\/|$)|\/fixtures(\/|$)/.test(path),
  });
  symlinkSync(join(root, "node_modules"), join(dir, "node_modules"));
  const { compilerOptions } = JSON.parse(readFileSync(join(root, "tsconfig.json"), "utf8"));
  writeFileSync(join(dir, "package.json"), '{ "type": "module" }');
  writeFileSync(join(dir, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["src"] }));

  const keys = Object.fromEntries(schemas.map((schema) => [schema.name, renameKeys(dir, schema)]));
  // Several threads would each work out the same types.
  const flags = ["--noEmit", "--pretty", "false", "--singleThreaded"];
  const compiled = promisify(execFile)(join(root, "node_modules/.bin/tsc"), [...flags, "-p", dir], {
    cwd: dir,
    maxBuffer: 64 * 1024 * 1024,
  });
  const output = await compiled.then(
    ({ stdout }) => stdout,
    (failed) => String(failed.stdout),
  );
  const read = new Set(Array.from(output.matchAll(/Property '(\w+)' does not exist on type/g), ([, key]) => key));
  // `"key" in value` is a question the compiler lets pass whatever the keys are.
  const code = globSync("src/**/*.ts", { cwd: dir }).map((path) => readFileSync(join(dir, path), "utf8"));
  const asked = (key: string) => code.some((text) => text.includes(`"${key}" in `));
  const all = Object.values(keys).flat();
  return { keys, unread: new Set(all.filter((key) => !read.has(key) && !asked(key))) };
}

/** Renames the keys of a schema in the sources below `dir`, and gives them. */
function renameKeys(dir: string, { file, declares }: Declared): string[] {
  const keys = new Set<string>();
  const source = readFileSync(join(root, file), "utf8");
  const declaration = /^(?:export )?const (\w+) = (?:z\.(?:loose|strict)?[oO]bject\()?\{\n[\s\S]*?^\}/gm;
  const renamed = source.replace(declaration, (block, name: string) => {
    if (!declares.test(name)) return block;
    return block.replace(/^ {2}(\w+)(?=:)/gm, (whole, key: string) => {
      if (key === "type") return whole;
      keys.add(key);
      return `  ${key.toUpperCase()}_`;
    });
  });
  // A loose object has every key, so that a missing one would not be an error.
  writeFileSync(join(dir, file), renamed.replaceAll("z.looseObject(", "z.object("));
  return [...keys];
}

/** The number of a file's format decides how its JSON is brought up to date, so it is read before the schema applies. */
const readBeforeValidation: Record<string, { key: string; file: string }> = {
  Plan: { key: "schema", file: "src/state/migrate.ts" },
};

/** Together are schemas that have no key in common: the compiler takes seconds. */
const together: (Declared & { some: string[] })[][] = [
  [
    { name: "ConfigFile", file: "src/domain/config.ts", declares: /^ConfigFile$/, some: ["maxConcurrency", "pollInterval"] },
    {
      name: "Phase",
      file: "src/domain/workflow.ts",
      declares: /^(every\w+|\w+Phase)$/,
      some: ["onSuccess", "promptTemplate", "checkTimeoutSeconds", "notify"],
    },
  ],
  [
    { name: "AgentConfig", file: "src/domain/config.ts", declares: /^AgentConfig$/, some: ["command", "model"] },
    { name: "Plan", file: "src/domain/plan.ts", declares: /^Plan$/, some: ["repo", "baseBranch"] },
  ],
];

describe("a setting exists when something reads it", () => {
  it.each(together.map((schemas) => [schemas.map(({ name }) => name).join(" and "), schemas] as const))("%s", async (_, schemas) => {
    const { keys, unread } = await keysAndReaders(schemas);
    const all = Object.values(keys).flat();
    expect(
      all.filter((key, i) => all.indexOf(key) < i),
      "keys of several schemas, which have to be looked at apart",
    ).toEqual([]);
    for (const { name, file, some } of schemas) {
      const own = keys[name] ?? [];
      expect(own).toEqual(expect.arrayContaining(some));
      const rawReader = readBeforeValidation[name];
      if (rawReader) {
        expect(readFileSync(join(root, rawReader.file), "utf8")).toContain(`document.${rawReader.key}`);
      }
      expect
        .soft(
          own.filter((key) => unread.has(key) && key !== rawReader?.key),
          `nothing in src/ reads these keys of ${file}`,
        )
        .toEqual([]);
    }
  });
});
