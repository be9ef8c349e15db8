import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { tempDir } from "../testing/temp.ts";
import { parseYaml, readYamlFile } from "./yaml-file.ts";

const Sample = z.looseObject({
  name: z.string().default(""),
  size: z.number().int().min(1).max(64).optional(),
  wait: z.number().positive().max(2592000).optional(),
  on: z.boolean().optional(),
  kind: z.enum(["small", "large"]).optional(),
  list: z.array(z.strictObject({ id: z.string() })).optional(),
  command: z.union([z.string().min(1), z.array(z.string()).min(1)]).optional(),
  env: z.record(z.string(), z.string()).optional(),
});

function check(text: string): string[] {
  return parseYaml(text, "f.yaml", Sample).findings.map(
    (f) => `${f.severity} ${f.rule} ${f.line}:${f.column} ${f.field} ${f.message} / ${f.fix}`,
  );
}

describe("a YAML file", () => {
  it("that is right has a value and no findings", () => {
    expect(parseYaml("name: a\nsize: 3\nlist: [{id: x}]\n", "f.yaml", Sample)).toMatchObject({
      value: { name: "a", size: 3, list: [{ id: "x" }] },
      findings: [],
    });
  });

  it.each([
    ["a tab", "name:\n\tx: 1\n", "error tab-as-indent 2:1"],
    ["a key twice", "name: a\nsize: 1\nname: b\n", "error duplicate-key 3:1"],
    ["two documents", "name: a\n---\nname: b\n", "error several-documents 2:1"],
    ["an open quote", 'name: "a\n', "error missing-char 2:1"],
    ["an open bracket", "list: [\n", "error bad-indent 2:1"],
    ["nothing", "", "error empty 1:1"],
    ["only a comment", "# nothing\n", "error empty 1:1"],
    ["a list at the top", "- a\n", "error wrong-type 1:1"],
    ["an alias without anchor", "name: *x\n", "error alias 1:7"],
    ["an unknown tag", "name: !secret x\n", "error tag-resolve-failed 1:7"],
    ["another YAML version", "%YAML 1.1\n---\non: yes\n", "error yaml-version 1:1"],
    ["a key that is a list", "? [a]\n: 1\n", "error key 1:3"],
    ["__proto__", "env:\n  __proto__: x\n", "error key 2:3"],
    ["10,000 nested brackets", "[".repeat(10_000), "error too-deep 1:65"],
    ["10,000 nested dashes", "- ".repeat(10_000), "error too-deep 1:65"],
    ["a staircase", Array.from({ length: 400 }, (_, i) => `${" ".repeat(i)}a:`).join("\n"), "error too-deep 258:1"],
  ])("with %s has a finding with its place", (_, text, start) => {
    const findings = check(text);
    expect(findings[0]).toMatch(new RegExp(`^${start.replaceAll("[", "\\[")} `));
    expect(findings.every((f) => f.split(" / ")[1] !== "undefined")).toBe(true);
  });

  it("shows everything at once, in the order of the file", () => {
    const text = "nmae: x\nsize: 65\nwait: 2592000000\non: yes\nkind: lage\nlist:\n  - id: 3\n  - idd: y\ncommand: 7\nenv:\n  KEY: 5\n";
    expect(check(text)).toEqual([
      'warning unknown-key 1:1 nmae unknown key "nmae" / did you mean "name"?',
      "error out-of-range 2:7 size expected a whole number from 1 to 64, got 65 / use a value in that range",
      "error out-of-range 3:7 wait expected a number greater than 0 and at most 2592000, got 2592000000 / use a value in that range; timers cannot count beyond 30 days",
      'error wrong-type 4:5 on expected true or false, got string "yes" / YAML 1.2 knows true and false only',
      'error bad-value 5:7 kind expected small | large, got string "lage" / did you mean "large"?',
      'error wrong-type 7:9 list[0].id expected text, got 3 / put it in quotes: "3"',
      'error missing 8:5 list[1].id "id" is required / add it (text)',
      'error unknown-key 8:5 list[1].idd unknown key "idd" / did you mean "id"?',
      "error wrong-type 9:10 command expected text or a list, got 7 / write text or a list",
      "error wrong-type 11:8 env.KEY expected text, got a number / put it in quotes",
    ]);
  });

  it.each([
    ['"3"', 'expected a whole number from 1 to 64, got string "3" / write 3 without quotes'],
    ["0", "expected a whole number from 1 to 64, got 0 / use a value in that range"],
    ["-1", "expected a whole number from 1 to 64, got -1 / use a value in that range"],
    ["1e9", "expected a whole number from 1 to 64, got 1000000000 / use a value in that range"],
    [".nan", "expected a whole number from 1 to 64, got NaN / write a whole number from 1 to 64"],
    [".inf", "expected a whole number from 1 to 64, got Infinity / write a whole number from 1 to 64"],
    ["1.5", "expected a whole number from 1 to 64, got 1.5 / write a whole number from 1 to 64"],
    ["null", "expected a whole number from 1 to 64, got null (no value) / write a whole number from 1 to 64"],
    ["[1]", "expected a whole number from 1 to 64, got a list / write a whole number from 1 to 64"],
  ])("says what is wrong with size: %s", (value, message) => {
    expect(check(`size: ${value}\n`).map((f) => f.replace(/^.*? size /, ""))).toEqual([message]);
  });

  it("reads octal-looking numbers and yes as YAML 1.2 does", () => {
    expect(parseYaml("size: 012\nname: yes\n", "f.yaml", Sample).value).toMatchObject({ size: 12, name: "yes" });
  });

  it("does not blow up aliases", () => {
    const bomb = [
      "a: &a [x, x, x, x, x, x, x, x, x]",
      ...[..."bcdefghi"].map((c, i) => `${c}: &${c} [${`*${"abcdefgh"[i]}, `.repeat(9)}]`),
    ].join("\n");
    expect(check(bomb)[0]).toMatch(/^error alias 1:1 .*Excessive alias count/);
  });

  it("finds places behind aliases", () => {
    expect(check("env: &e\n  A: 1\nlist:\n  - *e\n").map((f) => f.replace(/ \/ .*/, ""))).toEqual([
      'error unknown-key 2:3 list[0].A unknown key "A"',
      "error wrong-type 2:6 env.A expected text, got a number",
      'error missing 4:5 list[0].id "id" is required',
    ]);
  });

  it("is a regular UTF-8 file of at most 1 MiB", () => {
    const dir = tempDir();
    const at = (name: string) => join(dir, name);
    writeFileSync(at("big"), "#".repeat(1024 * 1024 + 1));
    writeFileSync(at("utf16"), Buffer.from("\ufeffname: a\n", "utf16le"));
    writeFileSync(at("nul"), "name: a\0\n");
    writeFileSync(at("bom"), "\ufeffname: a\n");
    mkdirSync(at("folder"));
    execFileSync("mkfifo", [at("fifo")]);
    const message = (name: string) => readYamlFile(at(name), Sample).findings.map((f) => `${f.rule} ${f.line}:${f.column} ${f.message}`);
    expect(["big", "utf16", "nul", "bom", "folder", "fifo", "missing"].map(message)).toEqual([
      ["unreadable 1:1 the file is larger than 1 MiB"],
      ["unreadable 1:1 the file is not UTF-8 text"],
      ["unreadable 1:1 the file holds NUL bytes; it is not UTF-8 text"],
      [],
      ["unreadable 1:1 this is not a regular file"],
      ["unreadable 1:1 this is not a regular file"],
      ["unreadable 1:1 the file does not exist"],
    ]);
  });
});
