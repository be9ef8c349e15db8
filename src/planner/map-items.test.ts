import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blockerCycles } from "../domain/blocker-cycles.ts";
import { PlanDraft } from "../domain/draft.ts";
import { caseFold } from "../domain/ids.ts";
import type { SourceItem, SourceRead } from "../trackers/tracker.ts";
import { labelRules } from "./label-rules.ts";
import { type MapOptions, mapItems, planIdOf } from "./map-items.ts";

const item = (fields: Partial<SourceItem> & { id?: string; kind?: string }): SourceItem => {
  const { id = "acme/shop#1", kind = "github", ...rest } = fields;
  return { source: { kind, id }, title: "Title", body: "", state: "open", labels: [], blockedBy: [], ...rest };
};

function map(items: SourceItem[], options: Partial<MapOptions> = {}, read: Partial<SourceRead> = {}) {
  return mapItems(
    { items, findings: [], ...read },
    { planId: "shop", spelling: "github:acme/shop", workflows: ["local", "bugfix", "docs"], labels: new Map(), existing: [], ...options },
  );
}

const tickets = (...args: Parameters<typeof map>) => map(...args).draft?.tickets ?? [];
const rules = (...args: Parameters<typeof map>) => map(...args).findings.map(({ rule, message }) => [rule, message]);

describe("items as tickets", () => {
  it("makes a plan of them", () => {
    const issue = item({
      source: { kind: "github", id: "acme/shop#12", url: "https://github.com/acme/shop/issues/12" },
      title: "Log in\n again ",
      body: "People cannot.\n\n## Acceptance criteria\n- [ ] They can\n- [x] Others cannot\n\nDepends on #11",
      labels: ["Bug", "priority/high"],
    });
    expect(
      map(
        [issue, item({ id: "acme/shop#11" }), item({ id: "acme/shop#10", state: "done" })],
        { repo: "/shop", workflow: "local" },
        { name: "Shop" },
      ),
    ).toEqual({
      draft: {
        id: "shop",
        name: "Shop",
        goal: "Imported from github:acme/shop.",
        repo: "/shop",
        workflow: "local",
        tickets: [
          {
            id: "GH-12",
            title: "Log in again",
            description: issue.body,
            acceptanceCriteria: ["They can", "Others cannot"],
            blockedBy: ["GH-11"],
            scope: [],
            priority: "P1",
            type: "bug",
            workflow: "bugfix",
            source: issue.source,
          },
          {
            id: "GH-11",
            title: "Title",
            description: "",
            acceptanceCriteria: [],
            blockedBy: [],
            scope: [],
            source: { kind: "github", id: "acme/shop#11" },
          },
        ],
      },
      closed: [item({ id: "acme/shop#10", state: "done" })],
      findings: [],
    });
  });

  it.each([
    ["github", "acme/shop#12", "GH-12"],
    ["linear", "ENG-12", "ENG-12"],
    ["features", "/shop/features.json#3", "F-3"],
    ["issue-files", "/shop/issues#ENG-1", "ENG-1"],
    ["backlog", "/shop/TODO.md#add-a-login", "add-a-login"],
    ["issue-files", "/shop/issues#Été à la plage!", "Ete-a-la-plage"],
    ["issue-files", "/shop/issues#__proto__", "proto__"],
    ["issue-files", "/shop/issues#../../etc/passwd", "etc-passwd"],
    ["issue-files", "/shop/issues#con", expect.stringMatching(/^T-[0-9a-f]{8}$/)],
    ["issue-files", "/shop/issues#コード", expect.stringMatching(/^T-[0-9a-f]{8}$/)],
    ["issue-files", `/shop/issues#${"x".repeat(100)}`, "x".repeat(64)],
  ])("names an item of %s %s %s", (kind, id, ticket) => {
    expect(tickets([item({ kind, id })]).map((one) => one.id)).toEqual([ticket]);
  });

  it("keeps the id that a ticket has in the plan, whatever it is", () => {
    const existing = [{ ticketId: "login", source: { kind: "github", id: "Acme/Shop#1" } }, { ticketId: "by-hand" }];
    expect(tickets([item({})], { existing }).map(({ id }) => id)).toEqual(["login"]);
  });

  it("gives an item another id where the plan's is somebody else's, and always the same", () => {
    const existing = [{ ticketId: "gh-1", source: null }];
    const [first] = tickets([item({})], { existing });
    expect(first?.id).toMatch(/^GH-1-[0-9a-f]{8}$/);
    expect(tickets([item({ id: "acme/shop#2" }), item({})], { existing })[1]?.id).toBe(first?.id);
    expect(rules([item({})], { existing })).toEqual([
      ["duplicate-id", `another ticket of the plan is GH-1 already, so this one is ${first?.id}`],
    ]);
  });

  it("takes an item that comes twice once, and items in the order of their source", () => {
    const items = [
      item({ id: "a/b#2", order: 2 }),
      item({ id: "a/b#3" }),
      item({ id: "a/b#1", order: 1 }),
      item({ id: "a/b#2", order: 2 }),
    ];
    expect(tickets(items).map(({ id }) => id)).toEqual(["GH-1", "GH-2", "GH-3"]);
  });

  it("cuts what is too long and says so, between characters", () => {
    const [ticket] = tickets([item({ title: "😀".repeat(200), body: "x".repeat(1_000_000) })]);
    expect([ticket?.title.length, ticket?.title.at(-2), ticket?.description.length]).toEqual([299, "\ude00", 200_000]);
    expect(rules([item({ title: "y".repeat(301) })])).toEqual([["too-long", "GH-1: its title is cut off"]]);
  });

  it("has no plan where nothing is open", () => {
    const done = item({ state: "done" });
    expect(map([done])).toEqual({ closed: [done], findings: [] });
  });

  it("takes one group alone when it is asked to", () => {
    const items = [item({ id: "a/b#1", group: "Core" }), item({ id: "a/b#2", group: "Web", body: "Depends on #1" }), item({ id: "a/b#3" })];
    expect(map(items, { group: "core" }).draft?.tickets.map(({ id }) => id)).toEqual(["GH-1"]);
    expect(() => map(items, { group: "Cor" })).toThrow('Nothing of the source is in a group "Cor" (did you mean "Core"?).');
    const files = [item({ kind: "issue-files", id: "/x#A", title: "Aye", group: "Web" })];
    files.push(item({ kind: "issue-files", id: "/x#B", group: "Core", body: "Depends on aye" }));
    expect(rules(files, { group: "Core" })).toEqual([
      ["unclear-blocker", 'B: it says that it depends on "aye", which names none of what is imported'],
    ]);
  });
});

describe("the plan that items go to", () => {
  const read = (groups: (string | undefined)[], name?: string): SourceRead => ({
    items: groups.map((group) => item(group === undefined ? {} : { group })),
    findings: [],
    ...(name === undefined ? {} : { name }),
  });
  it("is named by the group that was asked for, the only one that there is, or the source", () => {
    expect(planIdOf(read(["A", "B"], "acme/shop"), "Sprint 4!")).toBe("sprint-4");
    expect(planIdOf(read(["A b", "A b"], "acme/shop"), undefined)).toBe("a-b");
    expect(planIdOf(read(["A", undefined], "acme/shop"), undefined)).toBe("acme-shop");
    expect(planIdOf(read(["コード", "コード"], "con"), undefined)).toBe("import");
  });
});

describe("labels", () => {
  const means = (labels: string[], options: Partial<MapOptions> = {}, fields: Partial<SourceItem> = {}) => {
    const [ticket] = tickets([item({ labels, ...fields })], options);
    return [ticket?.type, ticket?.priority, ticket?.workflow];
  };
  it.each<[string[], (string | undefined)[]]>([
    [["bug"], ["bug", undefined, "bugfix"]],
    [
      ["Type: Bug", "P2"],
      ["bug", "P2", "bugfix"],
    ],
    [["kind/documentation"], ["docs", undefined, "docs"]],
    [
      ["enhancement", "regression"],
      ["bug", undefined, "bugfix"],
    ],
    [["hotfix"], ["bug", "P0", "bugfix"]],
    [
      ["feature", "chore"],
      ["feature", undefined, undefined],
    ],
    [["tech-debt"], ["refactor", undefined, undefined]],
    [
      ["priority: low", "prio/critical"],
      [undefined, "P0", undefined],
    ],
    [
      ["workflow:docs", "bug"],
      ["bug", undefined, "docs"],
    ],
    [
      ["__proto__", "constructor", ""],
      [undefined, undefined, undefined],
    ],
  ])("%j mean %j", (labels, meaning) => {
    expect(means(labels)).toEqual(meaning);
  });

  it("mean what the configuration says before what the source states and the program knows", () => {
    const labels = labelRules({ Bug: { type: "chore", priority: "P3" }, area: { workflow: "docs" } });
    expect(means(["bug", "Area"], { labels }, { priority: "P1" })).toEqual(["chore", "P3", "docs"]);
    expect(means(["P3"], {}, { priority: "P1" })).toEqual([undefined, "P1", undefined]);
  });

  it("name no workflow that does not exist, and none that the plan has anyway", () => {
    expect(means(["workflow:other", "bug"])).toEqual(["bug", undefined, "bugfix"]);
    expect(rules([item({ labels: ["workflow:other"] })])).toEqual([
      ["unknown-workflow", 'GH-1: there is no workflow "other", so it is not worked by that'],
    ]);
    expect(means(["bug"], { workflows: ["local"] })).toEqual(["bug", undefined, undefined]);
    expect(means(["bug"], { workflow: "bugfix" })).toEqual(["bug", undefined, undefined]);
  });
});

describe("criteria", () => {
  const criteria = (body: string, fields: Partial<SourceItem> = {}) => tickets([item({ body, ...fields })])[0]?.acceptanceCriteria;
  it.each([
    [
      "the list below a heading",
      "## Acceptance Criteria\n\nIt must:\n- a\n  - more of a\n- [ ] b\n\n## Notes\n- [ ] c",
      ["a\n- more of a", "b"],
    ],
    ["paragraphs below it where there is no list", "# Definition of Done\n\none\ntwo\n\nthree\n", ["one\ntwo", "three"]],
    ["a bold line for a heading", "Text\n\n**Acceptance criteria:**\n1. a\n2. b\n\nmore text\n\n- no", ["a", "b"]],
    ["a plain line with a colon", "Done when:\n- a\n", ["a"]],
    ["several such headings", "## AC\n- a\n## DoD\n- b\n- a", ["a", "b"]],
    [
      "checkboxes anywhere without one",
      "- [ ] a\n- text\n  - [x] b\n- [-] dropped\n\n```\n- [ ] code\n```\n<!-- - [ ] comment -->",
      ["a", "b"],
    ],
    ["nothing that is only a list", "- a\n- b", []],
    ["nothing where the section is empty", "## Acceptance criteria\n\n## Else\n", []],
  ])("are %s", (_, body, wanted) => {
    expect(criteria(body)).toEqual(wanted);
    expect(criteria(body.replaceAll("\n", "\r\n"))).toEqual(wanted);
  });

  it("are those that the source has a place for, first", () => {
    expect(criteria("- [ ] b", { criteria: [" a ", "", "a"] })).toEqual(["a"]);
    expect(criteria("- [ ] b", { criteria: [] })).toEqual(["b"]);
  });
});

describe("blockers", () => {
  const four = (body: string, kind = "issue-files", fields: Partial<SourceItem> = {}) => [
    item({ kind, id: "/x#ENG-1", title: "One", number: 1 }),
    item({ kind, id: "/x#ENG-2", title: "Two and a half (after #1)", number: 2 }),
    item({ kind, id: "/x#done", title: "Three", state: "done", number: 3 }),
    item({ kind, id: "/x#dropped", title: "Four", state: "dropped", number: 3 }),
    item({ kind, id: "/x#me", title: "Me", body, number: 5, ...fields }),
  ];
  const blockers = (body: string, kind?: string) => tickets(four(body, kind)).find(({ id }) => id === "me")?.blockedBy;

  it.each([
    ["Depends on ENG-1", ["ENG-1"]],
    ["- **Blocked by:** eng-1, ENG-2 and more", ["ENG-1", "ENG-2"]],
    ["Text.\nblocked-by: [ENG-1](https://linear.app/acme/issue/ENG-1/one)\n", ["ENG-1"]],
    ["This ticket is blocked by ENG-1.", ["ENG-1"]],
    ["## Dependencies\n\n- [ ] ENG-1: the table\n- Blocked by ENG-2\n", ["ENG-1", "ENG-2"]],
    ['Depends on "one" and `Two and a half`', []],
    ["Depends on `Two and a half`", ["ENG-2"]],
    ["Depends on the one, and three!", ["ENG-1"]],
    ["Depends on: one, done", ["ENG-1"]],
    ["Not blocked by ENG-1. It depends on ENG-2?", ["ENG-2"]],
    ["no longer blocked by ENG-1", []],
    ["Requires UTF-8 and ENG-1", ["ENG-1"]],
    ["Needs ENG-1", ["ENG-1"]],
    ["Depends on: none", []],
    ["```\nDepends on ENG-1\n```\n<!-- Depends on ENG-2 -->", []],
    ["Depends on done", []],
  ])("%j", (body, wanted) => {
    expect(blockers(body)).toEqual(wanted);
  });

  it("of a list are named by their numbers, too", () => {
    expect(blockers("Depends on #1 and #2", "backlog")).toEqual(["ENG-1", "ENG-2"]);
    expect(blockers("Depends on #1", "text")).toEqual(["ENG-1"]);
    // Two lists count from one: it may be either.
    expect(blockers("Depends on #3", "text")).toEqual([]);
  });

  it("stand in titles, too", () => {
    const items = [
      item({ kind: "backlog", id: "/x#api", title: "The cart API" }),
      item({ kind: "backlog", id: "/x#page", title: "The cart page (after the cart API)" }),
      item({ kind: "backlog", id: "/x#pay", title: "Pay (depends on: cart page; needs love)" }),
      item({ kind: "backlog", id: "/x#fax", title: "Pay by fax (after lunch)" }),
      item({ kind: "backlog", id: "/x#pigeon", title: "Pay by pigeon [needs page]" }),
    ];
    expect(tickets(items).map(({ id, title, blockedBy }) => [id, title, blockedBy])).toEqual([
      ["api", "The cart API", []],
      ["page", "The cart page (after the cart API)", ["api"]],
      ["pay", "Pay (depends on: cart page; needs love)", []],
      ["fax", "Pay by fax (after lunch)", []],
      ["pigeon", "Pay by pigeon [needs page]", []],
    ]);
    expect(rules(items)).toEqual([
      ["unclear-blocker", 'pay: it says that it depends on "cart page; needs love", which names none of what is imported'],
      ["unclear-blocker", 'fax: it says that it depends on "lunch", which names none of what is imported'],
    ]);
  });

  it("that the source knows itself count as well, and those of other places that were read", () => {
    const items = [
      item({
        id: "acme/shop#1",
        blockedBy: ["acme/shop#2"],
        body: "Depends on acme/other#7, ENG-4 and https://github.com/acme/shop/issues/3",
      }),
      item({ id: "acme/shop#2" }),
      item({ id: "acme/shop#3" }),
      item({ id: "acme/other#7" }),
      item({ kind: "linear", id: "ENG-4" }),
    ];
    expect(tickets(items)[0]?.blockedBy).toEqual(["GH-2", "GH-7", "ENG-4", "GH-3"]);
    expect(rules(items)).toEqual([]);
  });

  it("that are in the plan from before count as well", () => {
    const existing = [{ ticketId: "old", source: { kind: "issue-files", id: "/x#ENG-9" } }];
    const mapped = map(four("Depends on ENG-9, old"), { existing });
    expect(mapped.draft?.tickets.find(({ id }) => id === "me")?.blockedBy).toEqual(["old"]);
    expect(mapped.findings).toEqual([]);
  });

  it("that cannot be waited for are told", () => {
    const said = (body: string, fields: Partial<SourceItem> = {}) => rules(four(body, "issue-files", fields));
    expect(said("Depends on ENG-9")).toEqual([
      ["unknown-blocker", "me: ENG-9 blocks it but is not among what is imported, so it does not wait for it"],
    ]);
    expect(said("", { blockedBy: ["/x#ENG-9"] })).toEqual([
      ["unknown-blocker", "me: ENG-9 blocks it but is not among what is imported, so it does not wait for it"],
    ]);
    expect(said("Depends on dropped")).toEqual([["dropped-blocker", "me: dropped blocks it but was dropped, so it does not wait for it"]]);
    expect(said("Depends on me")).toEqual([["own-blocker", "me: it names itself as its blocker, which is left out"]]);
    expect(said("Depends on the weather")).toEqual([
      ["unclear-blocker", 'me: it says that it depends on "the weather", which names none of what is imported'],
    ]);
  });

  it("in a circle are told, and the one that closes it is left out", () => {
    const items = [
      item({ id: "a/b#1", blockedBy: ["a/b#3"] }),
      item({ id: "a/b#2", blockedBy: ["a/b#1"] }),
      item({ id: "a/b#3", blockedBy: ["a/b#2"] }),
      item({ id: "a/b#4", blockedBy: ["a/b#5"] }),
      item({ id: "a/b#5", blockedBy: ["a/b#4", "a/b#1"] }),
    ];
    expect(tickets(items).map(({ id, blockedBy }) => [id, blockedBy])).toEqual([
      ["GH-1", ["GH-3"]],
      ["GH-2", []],
      ["GH-3", ["GH-2"]],
      ["GH-4", ["GH-5"]],
      ["GH-5", ["GH-1"]],
    ]);
    expect(map(items).findings).toEqual([
      {
        severity: "warning",
        rule: "cycle",
        file: "a/b#2",
        message: "blockers form a circle: GH-1 → GH-3 → GH-2 → GH-1; so GH-2 does not wait for GH-1",
        fix: "take one of them out at the source",
      },
      {
        severity: "warning",
        rule: "cycle",
        file: "a/b#5",
        message: "blockers form a circle: GH-4 → GH-5 → GH-4; so GH-5 does not wait for GH-4",
        fix: "take one of them out at the source",
      },
    ]);
  });
});

describe("whatever items there are", () => {
  const anyId = fc.oneof(
    fc.nat(12).map((n) => `acme/shop#${n}`),
    fc.string({ minLength: 1, maxLength: 80 }).map((text) => `/x#${text}`),
    fc.constantFrom("ENG-1", "__proto__", "/x#con", "/x#CON", "/x#a..b"),
  );
  const items = fc.array(
    fc.record({
      source: fc.record({ kind: fc.constantFrom("github", "issue-files", "backlog", "linear"), id: anyId }),
      title: fc.string({ unit: "binary" }),
      body: fc.oneof(
        fc.string(),
        fc.nat(12).map((n) => `Depends on #${n}`),
      ),
      state: fc.constantFrom("open" as const, "open" as const, "done" as const, "dropped" as const),
      labels: fc.array(fc.oneof(fc.string(), fc.constantFrom("bug", "P1", "workflow:docs")), { maxLength: 3 }),
      blockedBy: fc.array(anyId, { maxLength: 3 }),
    }),
    { maxLength: 12 },
  );

  it("they make a plan that fits its schema, without circles and without blockers that are not there", () => {
    fc.assert(
      fc.property(items, (all) => {
        const { draft } = map(all);
        if (draft === undefined) return;
        expect(PlanDraft.safeParse(draft).error).toBeUndefined();
        const ids = draft.tickets.map(({ id }) => id);
        expect(new Set(ids.map(caseFold)).size).toBe(ids.length);
        expect(draft.tickets.flatMap(({ blockedBy }) => blockedBy).filter((id) => !ids.includes(id))).toEqual([]);
        expect(blockerCycles(draft.tickets.map(({ id, blockedBy }) => ({ ticketId: id, blockedBy })))).toEqual([]);
      }),
    );
  });

  it("they make the same plan when they are read again, whatever else has come in between", () => {
    fc.assert(
      fc.property(items, items, (all, others) => {
        const first = map(all).draft?.tickets ?? [];
        const existing = first.map(({ id, source }) => ({ ticketId: id, source }));
        expect(map(all, { existing }).draft?.tickets ?? []).toEqual(first);
        const later = map([...others, ...all], { existing }).draft?.tickets ?? [];
        const idOf = (list: typeof first) => new Map(list.map(({ id, source }) => [`${source?.kind} ${source?.id.toLowerCase()}`, id]));
        for (const [source, id] of idOf(first)) if (idOf(later).has(source)) expect(idOf(later).get(source)).toBe(id);
      }),
    );
  });
});
