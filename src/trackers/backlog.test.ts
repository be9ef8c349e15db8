import { readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { backlog } from "./backlog.ts";

function world(content: string) {
  const file = join(tempDir(), "TODO.md");
  writeFileSync(file, content);
  return { file, read: (heading?: string) => backlog({ file, ...(heading === undefined ? {} : { heading }) }).read() };
}

function fixture(name: string) {
  return world(readFileSync(join(import.meta.dirname, "fixtures", "backlog", name), "utf8"));
}

async function titles(content: string, heading?: string) {
  const { items } = await world(content).read(heading);
  return items.map(({ title, state, group }) => [title, state, ...(group === undefined ? [] : [group])]);
}

describe("a section of a Markdown file", () => {
  it("has its list items as work, sorted by sub-headings", async () => {
    const { file, read } = fixture("CLAUDE.md");
    const { name, items, findings } = await read();
    const id = (anchor: string) => ({ kind: "backlog", id: `${file}#${anchor}` });
    expect(name).toBe(basename(dirname(file)));
    expect(findings).toEqual([]);
    expect(items).toEqual([
      {
        source: id("log-in"),
        title: "Log in",
        body: "people have a password\n\n- [ ] A wrong password is refused\n- [ ] The account is locked after five\n\nSee the sketch.",
        state: "open",
        labels: [],
        blockedBy: [],
        criteria: ["A wrong password is refused", "The account is locked after five"],
        order: 1,
      },
      { source: id("landing-page"), title: "Landing page", body: "", state: "done", labels: [], blockedBy: [], criteria: [], order: 2 },
      {
        source: id("SHOP-7"),
        title: "Pay by card",
        body: "Depends on: Log in",
        state: "open",
        labels: ["billing", "bug"],
        blockedBy: [],
        criteria: [],
        order: 3,
      },
      { source: id("pay-by-fax"), title: "Pay by fax", body: "", state: "dropped", labels: [], blockedBy: [], criteria: [], order: 4 },
      {
        source: id("pay-by-pigeon"),
        title: "Pay by pigeon",
        body: "",
        state: "dropped",
        labels: [],
        blockedBy: [],
        criteria: [],
        order: 5,
      },
      { source: id("dark-mode"), title: "Dark mode", body: "", state: "open", labels: ["P3"], blockedBy: [], criteria: [], order: 6 },
      {
        source: id("gift-cards"),
        title: "Gift cards",
        body: "1. buy one\n2. use one",
        state: "open",
        labels: [],
        blockedBy: [],
        criteria: [],
        order: 7,
      },
      { source: id("prices"), title: "Prices", body: "", state: "done", labels: [], blockedBy: [], criteria: [], order: 8 },
    ]);
  });

  it("has its sub-headings as work where there are no lists beside them", async () => {
    const { file, read } = fixture("roadmap.md");
    const { items, findings } = await read("roadmap");
    expect(findings).toEqual([]);
    expect(items.map(({ source, title, body, criteria }) => ({ id: source.id, title, body, criteria }))).toEqual([
      {
        id: `${file}#add-a-search`,
        title: "Add a search",
        body: "The search finds titles.\n\n- [ ] It finds a title\n- [ ] It is fast\n\n```sh\n# no heading\n- no item\n```",
        criteria: ["It finds a title", "It is fast"],
      },
      { id: `${file}#add-filters`, title: "Add filters", body: 'Depends on "Add a search".', criteria: [] },
    ]);
  });

  it("knows headings that sort from headings that are work", async () => {
    expect(await titles("# Tasks\n## P0\n- a\n## Bugs\n- b\n## Phase 2\n### Fix it\n### Mend it\n## Do this\ntext\n")).toEqual([
      ["a", "open", "P0"],
      ["b", "open", "Bugs"],
      ["Fix it", "open", "Phase 2"],
      ["Mend it", "open", "Phase 2"],
      ["Do this", "open"],
    ]);
    expect(await titles("# Tasks\n## In progress\n- a\n## Done\n- [ ] b\n## Won't do\n- c\n")).toEqual([
      ["a", "open"],
      ["b", "done"],
      ["c", "dropped"],
    ]);
  });

  it("keeps the order of the file, whatever its lists count", async () => {
    const { items } = await world("# Backlog\n## P0\n1. a\n2. b\n## P1\n1. c\n2. d\n").read();
    expect(items.map(({ title, order, number }) => [title, order, number])).toEqual([
      ["a", 1, 1],
      ["b", 2, 2],
      ["c", 3, 1],
      ["d", 4, 2],
    ]);
  });

  it("knows an item by its words without those in brackets that say what comes before it", async () => {
    const { file, read } = world(
      "# Backlog\n- [ ] Pay by card (after the login) #web [bug]\n- **Pay by fax** (after T-1): with paper\n- Pay [after T-1]\n- Pay soon #web (blocked by T-1)\n",
    );
    const { items } = await read();
    expect(items.map(({ source, title, body, labels }) => [source.id.slice(file.length), title, body, labels])).toEqual([
      ["#pay-by-card", "Pay by card (after the login)", "", ["bug", "web"]],
      ["#pay-by-fax", "Pay by fax (after T-1)", "with paper", []],
      ["#pay", "Pay [after T-1]", "", []],
      ["#pay-soon", "Pay soon (blocked by T-1)", "", ["web"]],
    ]);
  });

  it("finds the section by its words or its anchor, and ends where the next one of its level begins", async () => {
    const text = "# A\n- a\n## Was nun? (Q3)\n- b\n#### deeper\n- c\n## Next\n- d\n";
    expect(await titles(text, "was nun? (q3)")).toEqual([
      ["b", "open"],
      ["c", "open", "deeper"],
    ]);
    expect(await titles(text, "was-nun-q3")).toEqual(await titles(text, "was nun? (q3)"));
    expect(await titles(text)).toEqual([["d", "open"]]);
  });

  it("names the sections that there are where the one that is wanted is not", async () => {
    const { file, read } = world("# A\n## Backlag\n");
    await expect(read("Backlog")).rejects.toMatchObject({
      message: `${file} does not have a section "Backlog" (did you mean "Backlag"?).`,
      hint: 'it has: A, Backlag; name one after "#"',
      exit: "notFound",
    });
    await expect(read()).rejects.toMatchObject({
      message: `${file} does not have a section Backlog, To do, Roadmap, Tasks or Next.`,
    });
  });

  it("says what it leaves out and what it guesses", async () => {
    const { file, read } = world("# Backlog\n- one\n\nlost words\n\n- One!\n- ENG-1: x\n- ENG-1: y\n```\n- swallowed\n");
    const { items, findings } = await read();
    expect(items.map(({ source }) => source.id.slice(file.length))).toEqual(["#one", "#one-2", "#ENG-1", "#ENG-1-2"]);
    expect(findings).toEqual([
      {
        severity: "warning",
        rule: "unclosed",
        file,
        line: 9,
        message: "nothing closes what begins here, so the rest of the file belongs to it",
        fix: "close it",
      },
      {
        severity: "warning",
        rule: "left-out",
        file,
        line: 4,
        message: "this text belongs to no item, so it is left out: lost words",
        fix: "indent it below its item, or make it one",
      },
      {
        severity: "warning",
        rule: "duplicate-id",
        file,
        line: 6,
        message: "line 2 has nearly the same words, so this one is known as one-2",
        fix: 'begin each with an id of its own: "T-1: …"',
      },
      {
        severity: "warning",
        rule: "duplicate-id",
        file,
        line: 8,
        message: "line 7 has the same id, so this one is known as ENG-1-2",
        fix: 'begin each with an id of its own: "T-1: …"',
      },
    ]);
  });

  it("says so when there is no work", async () => {
    const { findings } = await world("# Backlog\n\nSoon.\n").read();
    expect(findings.map(({ rule, line }) => [rule, line])).toEqual([["empty", 1]]);
  });

  it("reads marks of other systems, tabs, and lists of all kinds", async () => {
    expect(
      await titles(
        "\ufeff# Backlog\r\n* [X] a\r\n\t- nested\r\n+ [ ] b\r\n1) c\r\n  - nested\r\n10. d\r\n***\r\n- __proto__\r\n- コードを書く\r\n- \r\n- [ ]\r\n",
      ),
    ).toEqual([
      ["a", "done"],
      ["b", "open"],
      ["c", "open"],
      ["d", "open"],
      ["__proto__", "open"],
      ["コードを書く", "open"],
    ]);
  });

  it("reads megabytes of hostile text in time that grows with its length", async () => {
    const line = (part: string) => part.repeat(Math.floor(300_000 / part.length));
    const { items } = await world(
      `# Backlog\n- ${line("a ")}\n- ${line("[")}\n- ${line("[x](")}\n- ${line("*")}x\n- ${line("#a ")}\n- ${line("~")}\n# ${line("#")}x\n# ${line(" ")}x\n${line("- a\n")}${line("  ")}\n${line("`")}\n`,
    ).read();
    expect(items.length).toBeGreaterThan(4);
    const many = await world(
      `# Backlog\n${Array.from({ length: 20_000 }, (_, i) => `- [ ] item ${i}\n  Depends on #${i}\n`).join("")}`,
    ).read();
    expect(many.items.length).toBe(20_000);
    const deep = await world(`# Backlog\n${Array.from({ length: 2_000 }, (_, i) => `${" ".repeat(2 * i)}- [ ] ${i}\n`).join("")}`).read();
    expect(deep.items.length).toBe(1);
  });
});
