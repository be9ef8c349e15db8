import { globSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UserError } from "../domain/errors.ts";
import { tempDir } from "../testing/temp.ts";
import { featuresJson } from "./features-json.ts";
import type { Progress } from "./tracker.ts";

const fixtures = join(import.meta.dirname, "fixtures", "features");

function world(content: string | Buffer) {
  const dir = tempDir();
  const file = join(dir, "features.json");
  writeFileSync(file, content);
  return { file, tracker: featuresJson({ file, lockFile: join(dir, "lock") }), text: () => readFileSync(file, "utf8") };
}

function fixture(name: string) {
  return world(readFileSync(join(fixtures, name)));
}

function progress(file: string, id: number | string, status: Progress["status"], note?: string): Progress {
  return { source: { kind: "features", id: `${file}#${id}` }, status, ...(note === undefined ? {} : { note }) };
}

const feature = (fields: object) => ({ id: 1, category: "c", name: "n", description: "d", steps: ["s"], status: "open", ...fields });

describe("reading features.json", () => {
  it("reads an object with a list of features", async () => {
    const { file, tracker } = fixture("example.json");
    expect(await tracker.read()).toEqual({
      name: basename(dirname(file)),
      items: [
        {
          source: { kind: "features", id: `${file}#1` },
          title: "User authentication",
          body: "Implement email/password auth with login, register, and logout.",
          state: "open",
          labels: [],
          blockedBy: [],
          criteria: ["Create auth endpoints", "Add JWT token generation", "Build login/register forms", "Write tests"],
          group: "core",
          order: 1,
        },
        {
          source: { kind: "features", id: `${file}#2` },
          title: "Landing page",
          body: "A page that says what the product does.",
          state: "done",
          labels: [],
          blockedBy: [],
          criteria: ["The page has a headline", "The page links to the login"],
          group: "marketing",
          order: 2,
        },
        {
          source: { kind: "features", id: `${file}#3` },
          title: "Password reset",
          body: "Reset a password by mail.\n\nIt was tried before and failed: the link worked twice",
          state: "open",
          labels: [],
          blockedBy: [`${file}#1`],
          criteria: ["A mail with a link is sent", "The link works once"],
          group: "core",
          order: 3,
        },
      ],
      findings: [],
    });
  });

  it("reads a bare list, and the name that an object has", async () => {
    const list = await fixture("array.json").tracker.read();
    expect(list.items.map(({ title, state }) => [title, state])).toEqual([
      ["Search", "open"],
      ["Filters", "open"],
    ]);
    const named = await fixture("one-line.json").tracker.read();
    expect([named.name, named.items[0]?.title]).toEqual(["Shop", 'Café "menu"']);
  });

  it("says of each feature what is wrong with it, where, and reads the others", async () => {
    const { file, tracker } = world(`[
  {"id": 1, "category": "c", "name": "A", "description": "d", "steps": ["s"], "status": "opne"},
  {"id": 1, "category": "c", "name": "B", "description": "d", "steps": ["s"], "status": "open"},
  {"id": 2, "category": "c", "description": "d", "steps": ["s"], "status": "open"},
  {"id": "3", "category": "c", "name": "C", "description": "d",
   "steps": "s", "status": "open"},
  {"name": "no id"},
  null,
  {"id": 4, "name": "D"}
]`);
    const { items, findings } = await tracker.read();
    expect(items.map(({ source, title }) => [source.id, title])).toEqual([
      [`${file}#1`, "A"],
      [`${file}#3`, "C"],
      [`${file}#4`, "D"],
    ]);
    expect(findings.map(({ severity, rule, line, column, field }) => [severity, rule, line, column, field])).toEqual([
      ["warning", "bad-status", 2, 79, "features[0].status"],
      ["error", "duplicate-id", 3, 4, "features[1].id"],
      ["error", "missing", 4, 3, "features[2].name"],
      ["warning", "wrong-type", 6, 4, "features[3].steps"],
      ["error", "bad-id", 7, 3, "features[4].id"],
      ["error", "no-feature", 8, 3, "features[5]"],
      ["warning", "missing", 9, 3, "features[6].steps"],
      ["warning", "missing", 9, 3, "features[6].category"],
      ["warning", "bad-status", 9, 3, "features[6].status"],
      ["warning", "missing", 9, 3, "features[6].description"],
    ]);
    expect(findings[0]).toEqual({
      severity: "warning",
      rule: "bad-status",
      file,
      line: 2,
      column: 79,
      field: "features[0].status",
      message: '"opne" is no status (did you mean "open"?); it is taken for open',
      fix: "use one of open, verifying, passed, failed",
    });
  });

  it.each([
    ["a trailing comma", '[\n  {"id": 1},\n]', /:3:1: .*/, "remove the comma before it"],
    [
      "text that ends too early",
      '[\n  {"id": 1',
      /:2:11: Expected.*/,
      "correct the JSON; until then nothing of the file is read or written",
    ],
    ["nothing", "", /:1:1: Unexpected end of the file/, "correct the JSON; until then nothing of the file is read or written"],
    ["another object", '{"feature": []}', /holds no list of features/, 'write a list, or {"features": [ … ]}'],
    ["a mistake behind ten megabytes", `["${"x".repeat(10_000_000)}", ]`, /:1:10000006: Unexpected token/, "remove the comma before it"],
    ["bytes that are no text", Buffer.from([0x5b, 0xff, 0x5d]), /is not UTF-8 text/, "save it as UTF-8"],
  ])(
    "refuses %s, and writes nothing to it",
    async (_, content, message, hint) => {
      const { file, tracker } = world(content);
      const error = await tracker.read().catch((thrown) => thrown);
      expect(error).toBeInstanceOf(UserError);
      expect([error.message, error.hint]).toEqual([expect.stringMatching(message), hint]);
      await expect(tracker.writeBack?.([progress(file, 1, "done")])).rejects.toThrow(UserError);
      // Compared byte by byte, ten megabytes take vitest most of a minute.
      expect(readFileSync(file).equals(Buffer.from(content))).toBe(true);
    },
    60_000,
  );

  it("refuses a file that is not there", async () => {
    const file = join(tempDir(), "none.json");
    await expect(featuresJson({ file, lockFile: `${file}.lock` }).read()).rejects.toThrow(`There is no file ${file}.`);
  });

  it("takes names that JavaScript knows for names", async () => {
    const { file, tracker } = world(
      '{"__proto__": {"features": []}, "constructor": 1, "features": [{"__proto__": {"name": "x"}, "id": 1, "category": "__proto__", "name": "constructor", "description": "d", "steps": ["toString"], "status": "hasOwnProperty"}, {"id": "__proto__", "name": "y"}]}',
    );
    const { items, findings } = await tracker.read();
    expect(items.map(({ source, title, group, criteria, labels }) => ({ id: source.id, title, group, criteria, labels }))).toEqual([
      { id: `${file}#1`, title: "constructor", group: "__proto__", criteria: ["toString"], labels: [] },
    ]);
    expect(findings.map(({ rule }) => rule)).toEqual(["bad-status", "bad-id"]);
  });

  it("reads ten megabytes, and texts nested without end", async () => {
    const many = Array.from({ length: 10_000 }, (_, id) => feature({ id, description: "x".repeat(1000) }));
    const { items } = await world(JSON.stringify(many)).tracker.read();
    expect(items.length).toBe(10_000);
    const deep = `[{"id": 1, "name": "n", "x": ${"[".repeat(100_000)}${"]".repeat(100_000)}, "status": "open"}]`;
    const { file, tracker, text } = world(deep);
    await tracker.writeBack?.([progress(file, 1, "done")]);
    expect(text()).toBe(deep.replace('"open"', '"passed"'));
  }, 60_000);
});

describe("writing statuses back to features.json", () => {
  it.each(globSync("*.json", { cwd: fixtures }))("leaves every byte of %s where nothing changes", async (name) => {
    const { file, tracker, text } = fixture(basename(name));
    const { ino, mtimeMs } = statSync(file);
    const list = JSON.parse(text()).features ?? JSON.parse(text());
    const same: Record<string, Progress["status"]> = { verifying: "in_progress", passed: "done", failed: "failed" };
    await tracker.writeBack?.(
      list.flatMap((one: { id: number; status: string }) => (same[one.status] ? [progress(file, one.id, same[one.status] ?? "done")] : [])),
    );
    expect(statSync(file)).toMatchObject({ ino, mtimeMs });
    expect(text()).toBe(readFileSync(join(fixtures, name), "utf8"));
  });

  it.each(globSync("*.json", { cwd: fixtures }))("changes the status alone in %s", async (name) => {
    const { file, tracker, text } = fixture(basename(name));
    const before = text();
    await tracker.writeBack?.([progress(file, name.startsWith("one") ? 7 : 1, "done")]);
    expect(text()).toBe(before.replace(/("status" *: *)"open"/, '$1"passed"'));
  });

  it("keeps a byte order mark and carriage returns", async () => {
    const original = `\ufeff${readFileSync(join(fixtures, "example.json"), "utf8").replaceAll("\n", "\r\n")}`;
    const { file, tracker, text } = world(original);
    await tracker.writeBack?.([progress(file, 1, "failed", "no tests")]);
    expect(text()).toBe(original.replace('"status": "open"', '"status": "failed",\r\n      "failure_reason": "no tests"'));
    expect((await tracker.read()).items.length).toBe(3);
  });

  it("writes why a feature failed, and takes it away once it has not", async () => {
    const { file, tracker, text } = fixture("example.json");
    const before = text();
    await tracker.writeBack?.([progress(file, 3, "in_progress")]);
    expect(text()).toBe(
      before.replace(
        '"status": "failed",\n      "failure_reason": "the link worked twice",\n      "failure_category": "tests"',
        '"status": "verifying"',
      ),
    );
    await tracker.writeBack?.([progress(file, 3, "failed", "the link worked twice")]);
    await tracker.writeBack?.([progress(file, 3, "failed", "the link worked twice")]);
    expect(text()).toBe(before.replace(',\n      "failure_category": "tests"', ""));
  });

  it("takes away what stands first in an object, and adds a status that is missing", async () => {
    const { file, tracker, text } = world('[{"failure_reason": "x", "failure_category": "y", "id": 1, "name": "n"}]');
    await tracker.writeBack?.([progress(file, 1, "done")]);
    expect(text()).toBe('[{"id": 1, "name": "n", "status": "passed"}]');
  });

  it("never takes back that a feature has passed", async () => {
    const { file, tracker, text } = fixture("example.json");
    const before = text();
    await tracker.writeBack?.([progress(file, 2, "failed", "late news"), progress(file, 2, "in_progress")]);
    expect(text()).toBe(before);
  });

  it("writes the last of two members of one name, which is the one that counts", async () => {
    const { file, tracker, text } = world('[{"id": 1, "name": "n", "status": "open", "status": "open"}]');
    await tracker.writeBack?.([progress(file, 1, "done")]);
    expect(text()).toBe('[{"id": 1, "name": "n", "status": "open", "status": "passed"}]');
  });

  it("names the features that are gone, and writes the others", async () => {
    const { file, tracker, text } = fixture("array.json");
    await expect(tracker.writeBack?.([progress(file, 1, "done"), progress(file, 9, "done")])).rejects.toThrow(
      `${file} has no feature 9 any more; the others were written.`,
    );
    expect(JSON.parse(text())[0].status).toBe("passed");
  });

  it("says so where it cannot be written", async () => {
    const { file, text } = fixture("array.json");
    const before = text();
    const held = await featuresJson({ file, lockFile: join(file, "lock") })
      .writeBack?.([progress(file, 1, "done")])
      .catch((error) => error);
    expect(held).toMatchObject({ name: "UserError", message: expect.stringMatching(/cannot be written \(\w+\)\.$/) });
    expect(text()).toBe(before);
  });

  it("leaves news of other sources alone", async () => {
    const { tracker, text } = fixture("array.json");
    const before = text();
    await tracker.writeBack?.([
      progress("/elsewhere/features.json", 1, "done"),
      { source: { kind: "linear", id: "ENG-1" }, status: "done" },
    ]);
    expect(text()).toBe(before);
  });

  it("loses no update of two writers", async () => {
    const many = Array.from({ length: 40 }, (_, id) => feature({ id }));
    const { file, tracker, text } = world(JSON.stringify(many, null, 2));
    const other = featuresJson({ file, lockFile: join(file, "..", "lock") });
    await Promise.all(many.map(({ id }) => (id % 2 === 0 ? tracker : other).writeBack?.([progress(file, id, "done")])));
    expect(JSON.parse(text())).toEqual(many.map((one) => ({ ...one, status: "passed" })));
  }, 60_000);

  it("changes what it says and nothing else, whatever the file looks like, and the second time nothing", async () => {
    const extra = fc.dictionary(
      fc.string().filter((key) => !["id", "status", "failure_reason", "failure_category", "name", "__proto__"].includes(key)),
      // As JSON has it: there is no negative zero.
      fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value)) as unknown),
      { maxKeys: 3 },
    );
    const space = fc.constantFrom(undefined, 1, 2, "\t");
    const features = fc.uniqueArray(
      fc.record({
        id: fc.nat(99),
        before: extra,
        after: extra,
        status: fc.constantFrom("open", "verifying", "passed", "failed", undefined),
      }),
      { selector: ({ id }) => id, minLength: 1, maxLength: 5 },
    );
    const said = fc.constantFrom("in_progress", "done", "failed", undefined);
    const dir = tempDir();
    const file = join(dir, "features.json");
    const tracker = featuresJson({ file, lockFile: join(dir, "lock") });
    await fc.assert(
      fc.asyncProperty(
        features,
        space,
        fc.boolean(),
        fc.array(said, { minLength: 5, maxLength: 5 }),
        async (list, indent, wrapped, news) => {
          const objects = list.map(({ id, before, after, status }) => ({
            ...before,
            id,
            name: "n",
            ...(status ? { status } : {}),
            ...after,
          }));
          writeFileSync(file, JSON.stringify(wrapped ? { features: objects, status: "open" } : objects, null, indent));
          const told = list.flatMap(({ id }, i) => (news[i] === undefined ? [] : [progress(file, id, news[i], "why")]));
          await tracker.writeBack?.(told);
          const written = { in_progress: "verifying", done: "passed", failed: "failed" };
          const wanted = objects.map((object, i) => {
            const status = news[i];
            if (status === undefined || object.status === "passed") return object;
            return { ...object, status: written[status], ...(status === "failed" ? { failure_reason: "why" } : {}) };
          });
          const first = readFileSync(file, "utf8");
          expect(JSON.parse(first)).toEqual(wrapped ? { features: wanted, status: "open" } : wanted);
          await tracker.writeBack?.(told);
          expect(readFileSync(file, "utf8")).toBe(first);
        },
      ),
      { numRuns: 60 },
    );
  }, 60_000);
});
