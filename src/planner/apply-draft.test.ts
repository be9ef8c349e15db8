import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PlanDraft, type TicketDraft } from "../domain/draft.ts";
import { planStatus } from "../engine/world.ts";
import { goodDraft, goodTicket, testBench, testPerson } from "../testing/bench.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";
import { until } from "../testing/until.ts";
import { applyDraft } from "./apply-draft.ts";
import { readPlans } from "./read-plans.ts";

const flow = "name: local\nphases:\n  - { id: work, type: script, command: work.sh, onSuccess: done }\n  - { id: done, type: terminal }\n";

function home(): TestHome {
  const made = testHome();
  made.writeWorkflow("local.yaml", flow);
  made.writeScript("work.sh", "until [ -e go ]; do sleep 0.05; done\n");
  return made;
}

/** An issue as a source gives it: its number is its identity, its id may change. */
const issue = (n: number, fields: Partial<Parameters<typeof goodTicket>[1]> = {}) =>
  goodTicket(`gh-${n}`, { source: { kind: "github", id: `o/r#${n}`, url: `https://example.test/${n}` }, ...fields });

const none = { added: [], changed: [], removed: [], left: [], missing: [] };
const listed = (at: TestHome) =>
  (at.plan("auth").tickets as { ticketId: string; blockedBy: string[] }[]).map(({ ticketId, blockedBy }) =>
    [ticketId, ...blockedBy].join(" < "),
  );

describe("a repeated import", () => {
  it("writes the plan, and changes nothing the second time", async () => {
    const at = home();
    const bench = testBench(at);
    const draft = goodDraft(at.repo, { tickets: [issue(1), issue(2, { blockedBy: ["gh-1"] })] });
    expect(await applyDraft(draft, bench)).toMatchObject({ ...none, result: "written", added: ["gh-1", "gh-2"] });
    const before = [at.plan("auth"), at.ticket("auth", "gh-1")];
    expect(await applyDraft(draft, bench)).toEqual({
      ...{ ...none, result: "unchanged", planId: "auth", findings: [] },
      message: 'Nothing to do: plan "auth" is so already.',
    });
    expect([at.plan("auth"), at.ticket("auth", "gh-1")]).toEqual(before);
  });

  it("finds tickets again by their source, whatever their id is now, and takes what is new with its blockers", async () => {
    const at = home();
    const bench = testBench(at);
    await applyDraft(goodDraft(at.repo, { tickets: [issue(1), issue(2, { blockedBy: ["gh-1"] })] }), bench);
    const again = goodDraft(at.repo, {
      tickets: [
        issue(1, { id: "login", title: "Sign in" }),
        issue(2, { blockedBy: ["login"] }),
        issue(3, { blockedBy: ["login", "gh-2"] }),
      ],
    });
    expect(await applyDraft(again, bench)).toMatchObject({ ...none, result: "changed", added: ["gh-3"], changed: ["gh-1"] });
    expect([listed(at), at.ticket("auth", "gh-1").title]).toEqual([["gh-1", "gh-2 < gh-1", "gh-3 < gh-1 < gh-2"], "Sign in"]);
    expect(await applyDraft(again, bench)).toMatchObject({ ...none, result: "unchanged" });
  });

  it("keeps what a person added and what the draft leaves out, and never takes another source's ticket for its own", async () => {
    const at = home();
    const bench = testBench(at);
    const mine = goodTicket("mine");
    await applyDraft(goodDraft(at.repo, { tickets: [issue(1, { blockedBy: ["mine"], priority: "P1" }), mine] }), bench);
    const read = goodDraft(at.repo, { goal: "", tickets: [issue(1, { scope: [], acceptanceCriteria: [], description: "" })] });
    expect(await applyDraft(read, bench)).toMatchObject({ ...none, result: "unchanged", missing: ["mine"] });
    expect(at.ticket("auth", "gh-1")).toMatchObject({ priority: "P1", scope: ["src/gh-1/**"] });
    const other = goodDraft(at.repo, { tickets: [issue(9, { id: "gh-1" })] });
    expect(await applyDraft(other, bench)).toMatchObject({
      result: "refused",
      findings: [{ rule: "edit", message: 'plan "auth" has a ticket "gh-1" already' }],
    });
    const exact = goodDraft(at.repo, { goal: "", tickets: [issue(1)] });
    const editOf = readPlans(bench.config).plans.get("auth");
    expect(await applyDraft(exact, bench, editOf && { editOf })).toMatchObject({
      ...none,
      result: "changed",
      changed: ["gh-1"],
      removed: ["mine"],
    });
    expect([listed(at), at.plan("auth").goal, at.ticket("auth", "gh-1").priority]).toEqual([["gh-1"], "", null]);
  });

  it("leaves alone what has begun and says so; of a plan that is worked a person is asked", async () => {
    const at = home();
    const first = goodDraft(at.repo, { tickets: [issue(1), issue(2, { blockedBy: ["gh-1"] })] });
    await applyDraft(first, testBench(at, { approved: true }));
    const { runner } = await testRunner(at);
    await runner.tick();
    await until(() => at.ticket("auth", "gh-1").status === "running");
    runner.setDispatching(false);
    const draft = goodDraft(at.repo, { tickets: [issue(1, { title: "Other" }), issue(2, { title: "Another", blockedBy: ["gh-1"] })] });
    const left = [{ ticketId: "gh-1", reason: expect.stringMatching(/^it has begun \(\w+\); different in the draft: title$/) }];
    expect(await applyDraft(draft, testBench(at))).toMatchObject({
      ...{ ...none, result: "refused", left },
      message: expect.stringContaining('Plan "auth" is active: only a person may change it'),
    });
    const no = testPerson(false);
    expect(await applyDraft(draft, testBench(at, { person: no }))).toMatchObject({ ...none, result: "declined", left });
    expect(no.asked).toEqual(['Change plan "auth", which is active?\n- changed title of gh-2\n\ngh-2\n    title: Another']);
    expect(at.ticket("auth", "gh-2").title).toBe("Add the gh-2 of the sign-in");
  });

  it("takes 200 issues twice into one plan without a double", async () => {
    const at = home();
    const bench = testBench(at);
    const tickets = Array.from({ length: 200 }, (_, i) => issue(i + 1, { blockedBy: i % 3 === 2 ? [`gh-${i}`] : [] }));
    const draft = (count: number) => goodDraft(at.repo, { tickets: tickets.slice(0, count) });
    expect((await applyDraft(draft(150), bench)).added).toHaveLength(150);
    expect(await applyDraft(draft(200), bench)).toMatchObject({
      result: "changed",
      added: tickets.slice(150).map(({ id }) => id),
      changed: [],
    });
    expect(await applyDraft(draft(200), bench)).toMatchObject({ ...none, result: "unchanged" });
    expect(listed(at)).toHaveLength(200);
  });
});

/** Drafts of any shape over a few ids, so that many of them are wrong in some way, and many are not. */
const anyDraft = (repo: string): fc.Arbitrary<PlanDraft> => {
  const ids = ["a", "b", "c", "D", "d", "e.1"];
  const text = fc.oneof(fc.string(), fc.string({ unit: "grapheme" }), fc.constant("\u0000"), fc.constant("{{ x }}"));
  const ticket = fc.record<TicketDraft>(
    {
      id: fc.constantFrom(...ids),
      title: text.filter((title) => title.length > 0 && title.length <= 300),
      description: text,
      acceptanceCriteria: fc.array(text.filter((criterion) => criterion !== "")),
      blockedBy: fc.array(fc.constantFrom(...ids), { maxLength: 2 }),
      scope: fc.array(fc.constantFrom("src/**", "*")),
      priority: fc.constantFrom("P0", "P3"),
      type: fc.constantFrom("bug", "spike"),
      branch: fc.constantFrom("one", "two", "bad..name"),
      budgetUsd: fc.double({ min: 0, max: 1e9, noNaN: true }),
      source: fc.record({ kind: fc.constant("text"), id: text.filter((id) => id !== "") }),
    },
    { requiredKeys: ["id", "title", "description", "acceptanceCriteria", "blockedBy", "scope"] },
  );
  return fc
    .record({ goal: text, name: text, tickets: fc.uniqueArray(ticket, { minLength: 1, maxLength: 5, selector: ({ id }) => id }) })
    .map((parts) => ({ id: "any", repo, workflow: "local", ...parts }));
};

describe("any draft", () => {
  it("that is accepted loads without a problem, and every ticket of it comes to its end", async () => {
    const at = home();
    at.writeScript("work.sh", "exit 0\n");
    const bench = testBench(at, { approved: true });
    const { runner, index } = await testRunner(at);
    runner.setDispatching(false);
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(anyDraft(at.repo), async (draft) => {
        accepted += 1;
        const id = `any-${accepted}`;
        const { result, findings } = await applyDraft(PlanDraft.parse({ ...draft, id }), bench);
        if (result === "refused") return findings.some(({ severity }) => severity === "error");
        await runner.tick();
        const plan = index.plans.get(id);
        expect([plan?.problems, [...(plan?.tickets.values() ?? [])].filter(({ problem }) => problem)]).toEqual([[], []]);
        // Whatever may start is taken for done, until nothing is left: then nothing was in a circle.
        const left = new Map(plan?.plan?.tickets.map(({ ticketId, blockedBy }) => [ticketId, blockedBy]));
        for (let before = -1; before !== left.size; ) {
          before = left.size;
          for (const [ticketId, blockedBy] of left) if (!blockedBy.some((blocker) => left.has(blocker))) left.delete(ticketId);
        }
        expect([...left]).toEqual([]);
        const view = readPlans(bench.config).plans.get(id);
        expect(view && planStatus(view)).toBe("active");
        return true;
      }),
      { numRuns: 12 },
    );
  }, 60_000);
});
