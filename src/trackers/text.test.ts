import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { plainTextFile } from "./text.ts";

function world(content: string) {
  const file = join(tempDir(), "notes.txt");
  writeFileSync(file, content);
  return { file, read: () => plainTextFile({ file }).read() };
}

const fixture = (name: string) => world(readFileSync(join(import.meta.dirname, "fixtures", "text", name), "utf8"));

describe("plain text", () => {
  it("has the items of a numbered list as work", async () => {
    const { file, read } = fixture("numbered.txt");
    expect(await read()).toEqual({
      name: "notes",
      items: [
        {
          source: { kind: "text", id: `${file}#add-a-login-form` },
          title: "Add a login form",
          body: "It asks for a name and a password.",
          state: "open",
          labels: [],
          blockedBy: [],
          criteria: [],
          order: 1,
          number: 1,
        },
        {
          source: { kind: "text", id: `${file}#remember-who-is-logged-in` },
          title: "Remember who is logged in",
          body: "Depends on #1",
          state: "open",
          labels: [],
          blockedBy: [],
          criteria: [],
          order: 2,
          number: 2,
        },
        {
          source: { kind: "text", id: `${file}#log-out` },
          title: "Log out",
          body: "",
          state: "open",
          labels: [],
          blockedBy: [],
          criteria: [],
          order: 3,
          number: 3,
        },
      ],
      findings: [],
    });
  });

  it("has its paragraphs as work where there is no list", async () => {
    const { items, findings } = await fixture("paragraphs.txt").read();
    expect(findings).toEqual([]);
    expect(items.map(({ title, body }) => [title, body])).toEqual([
      ["Add a login form", "It asks for a name and a password."],
      [
        "The second paragraph is so long that its first sentence has to stand for it",
        "The second paragraph is so long that its first sentence has to stand for it. It goes on and on about what it is that somebody would like to have.",
      ],
      ["Log out", ""],
    ]);
  });

  it("cuts a title that has no end, and keeps all of it as the text", async () => {
    const { items } = await world("x".repeat(500)).read();
    expect(items.map(({ title, body }) => [title.length, body.length])).toEqual([[121, 500]]);
  });

  it("says what it leaves out", async () => {
    const { file, read } = world("What we need:\n\n1. one\n\nThank you!\n");
    const { items, findings } = await read();
    expect(items.map(({ title }) => title)).toEqual(["one"]);
    expect(findings).toEqual([
      {
        severity: "warning",
        rule: "left-out",
        file,
        line: 1,
        message: "there is a list, so text beside it is left out: What we need:",
        fix: "make it an item, or indent it below one",
      },
    ]);
    expect((await world("\n \n").read()).findings.map(({ rule }) => rule)).toEqual(["empty"]);
  });

  it("keeps its ids when lines are put before it", async () => {
    const first = await world("1. Add a login\n2. Log out\n").read();
    const later = await world("1. Before all else\n2. Add a *login*\n3. Log out\n").read();
    const anchors = (read: typeof first) => read.items.map(({ source }) => source.id.replace(/.*#/, ""));
    expect(anchors(later).slice(1)).toEqual(anchors(first));
  });
});
