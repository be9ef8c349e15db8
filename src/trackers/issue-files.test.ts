import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseYamlText } from "../inputs/yaml-text.ts";
import { tempDir } from "../testing/temp.ts";
import { issueFiles } from "./issue-files.ts";

function world(files: Record<string, string | Buffer>) {
  const dir = tempDir();
  for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), content);
  return { dir, read: () => issueFiles({ dir, readYaml: parseYamlText }).read() };
}

const issue = (front: string, body = "") => `---\n${front}\n---\n${body}`;

describe("a folder of issue files", () => {
  it("reads fields and text, and leaves the folder's README alone", async () => {
    const { dir, read } = world({});
    cpSync(join(import.meta.dirname, "fixtures", "issues"), dir, { recursive: true });
    const { items, findings } = await read();
    expect(findings).toEqual([]);
    expect(items).toEqual([
      {
        source: { kind: "issue-files", id: `${dir}#ENG-1`, url: "https://tracker.example/ENG-1" },
        title: "Log in with a password",
        body: `## Description

People have an account and a password.

## Acceptance Criteria

- [ ] A wrong password is refused
- [ ] After five wrong ones the account is locked
      for ten minutes

## Comments

- Ana: keep it simple`,
        state: "open",
        labels: ["Story", "priority:High"],
        blockedBy: [],
        group: "Sprint 4",
      },
      {
        source: { kind: "issue-files", id: `${dir}#ENG-2` },
        title: "Sessions outlive a restart",
        body: `Sessions are gone after a restart.

## Definition of done

1. A session is there after a restart
2. It ends after a day

## Dependencies

- ENG-1
- [ ] ENG-3`,
        state: "open",
        labels: ["Bug", "auth", "sessions"],
        blockedBy: [],
      },
      {
        source: { kind: "issue-files", id: `${dir}#ENG-3` },
        title: "A table for sessions",
        body: "",
        state: "done",
        labels: [],
        blockedBy: [],
      },
    ]);
  });

  it("takes other spellings, lists in one text, and the end of a line as any system writes it", async () => {
    const { dir, read } = world({
      "a.md":
        "\ufeff---\r\nkey: A\r\nname: First\r\nstate: Won't do\r\ntags: one, two\r\ndepends_on: B, C\r\nepic: E\r\norder: 2\r\n---\r\nText\r\n",
    });
    expect(await read()).toEqual({
      name: basename(dir),
      items: [
        {
          source: { kind: "issue-files", id: `${dir}#A` },
          title: "First",
          body: "Text",
          state: "dropped",
          labels: ["one", "two"],
          blockedBy: [`${dir}#B`, `${dir}#C`],
          group: "E",
          order: 2,
        },
      ],
      findings: [],
    });
  });

  it("says what is wrong with which file and line, and reads the rest", async () => {
    const { dir, read } = world({
      "a.md": issue("id: A\ntitle: First\nstatus: doen\npriorty: P1"),
      "b.md": issue("id: A\ntitle: Twin"),
      "c.md": "# From the heading\n\nText\n",
      "d.md": "Nothing that says what it is\n",
      "e.md": issue("title: [unclosed"),
      "f.md": "---\ntitle: never closed\n\n# Other\n",
      "g.md": issue("id: G\ntitle: Open fence", "\n```\n- [ ] swallowed\n"),
      "h.md": Buffer.from([0xff, 0xfe, 0x41, 0x00]),
      "i.md": issue("- a\n- b", "# A list is no fields\n"),
      "j.md": "",
    });
    const { items, findings } = await read();
    expect(items.map(({ source, title }) => [source.id, title])).toEqual([
      [`${dir}#A`, "First"],
      [`${dir}#c`, "From the heading"],
      [`${dir}#f`, "Other"],
      [`${dir}#G`, "Open fence"],
      [`${dir}#i`, "A list is no fields"],
    ]);
    expect(findings.map(({ severity, file, line, rule, fix }) => [severity, file.slice(dir.length + 1), line, rule, fix])).toEqual([
      ["warning", "a.md", 5, "unknown-key", 'did you mean "priority"?'],
      ["warning", "a.md", 4, "bad-status", "write open, done or dropped"],
      ["error", "b.md", 1, "duplicate-id", "give one of the two another id"],
      ["warning", "c.md", 1, "missing", 'add "title" to the fields at the top'],
      ["warning", "c.md", 1, "missing", "add it to the fields at the top"],
      ["error", "d.md", 1, "missing", 'add "title" to the fields at the top'],
      ["error", "e.md", 2, "bad-indent", "align it with its neighbours, and close every bracket"],
      ["error", "f.md", 1, "front-matter", 'close the fields with a line "---"'],
      ["warning", "f.md", 1, "missing", 'add "title" to the fields at the top'],
      ["warning", "f.md", 1, "missing", "add it to the fields at the top"],
      ["warning", "g.md", 6, "unclosed", "close it"],
      ["error", "h.md", undefined, "unreadable", "save it as UTF-8"],
      ["warning", "i.md", 1, "missing", 'add "title" to the fields at the top'],
      ["warning", "i.md", 1, "missing", "add it to the fields at the top"],
      ["error", "j.md", 1, "missing", 'add "title" to the fields at the top'],
    ]);
  });

  it("is not led astray by hostile files", async () => {
    const { dir, read } = world({
      "a.md": issue("id: __proto__\ntitle: constructor\nlabels: [__proto__, toString]\nblockedBy: [__proto__]"),
      "b.md": issue(`title: ${"[".repeat(5000)}`),
      "c.md": issue("id: &a [*a]\ntitle: {x: 1}", "# C\n"),
      "d.md": `---\nid: D\ntitle: D\n---\n${"# ".repeat(1_000_000)}\n${"- ".repeat(1_000_000)}\n${" ".repeat(1_000_000)}x\n${"[".repeat(1_000_000)}`,
    });
    mkdirSync(join(dir, "folder.md"));
    execFileSync("mkfifo", [join(dir, "pipe.md")]);
    symlinkSync(join(dir, "nowhere"), join(dir, "dangling.md"));
    const { items, findings } = await read();
    expect(items.map(({ source, labels, blockedBy }) => [source.id, labels, blockedBy])).toEqual([
      [`${dir}#__proto__`, ["__proto__", "toString"], [`${dir}#__proto__`]],
      [`${dir}#c`, [], []],
      [`${dir}#D`, [], []],
    ]);
    expect(findings.filter(({ severity }) => severity === "error").map(({ file, rule }) => [file.slice(dir.length + 1), rule])).toEqual([
      ["b.md", "too-deep"],
      ["dangling.md", "unreadable"],
      ["folder.md", "unreadable"],
      ["pipe.md", "unreadable"],
    ]);
  });

  it("says so when there is nothing to read", async () => {
    const { dir, read } = world({});
    expect((await read()).findings.map(({ rule, file }) => [rule, file])).toEqual([["empty", dir]]);
  });

  it("refuses a folder that is not there", async () => {
    const dir = join(tempDir(), "none");
    await expect(issueFiles({ dir, readYaml: parseYamlText }).read()).rejects.toThrow(`There is no folder ${dir}.`);
  });
});
