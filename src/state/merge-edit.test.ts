import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Activity, plannerOwned, runnerOwned, type Ticket, TicketFile } from "../domain/ticket.ts";
import { statusOf } from "../domain/ticket-status.ts";
import { foldEdit, type TicketEdit } from "./merge-edit.ts";

const at = "2026-11-21T12:00:00.000Z";
const ready: Activity = { state: "ready", cause: "next" };
const failed: Activity = { state: "finished", outcome: "failed", at };

function ticket(fields: Partial<TicketFile> = {}): Ticket {
  const activity = fields.activity ?? ready;
  const hold = fields.hold ?? null;
  return { ...TicketFile.parse({ planId: "p", ticketId: "T", rev: 3, ...fields }), activity, hold, status: statusOf({ activity, hold }) };
}

describe("foldEdit: texts", () => {
  it("takes what the author changed and keeps what others did meanwhile", () => {
    const base = ticket({ title: "a", description: "d", labels: ["x"], note: 1 });
    const edited: TicketEdit = { ...base, title: "b", labels: ["x", "y"] };
    delete edited.note;
    const ours = ticket({ title: "a", description: "D", labels: ["x"], note: 1, rev: 9, runs: 4, currentPhase: "review" });
    expect(foldEdit(base, edited, ours)).toEqual({
      ticket: ticket({ title: "b", description: "D", labels: ["x", "y"], rev: 9, runs: 4, currentPhase: "review" }),
      intents: [],
      refused: [],
      notes: [],
    });
  });

  it("takes no field for removed when the revision that the author read is gone", () => {
    const base = ticket({ labels: ["x"], rev: 20 });
    expect(foldEdit(base, ticket({ title: "b", rev: 5 }), ticket({ labels: ["x"], rev: 60 })).ticket).toEqual(
      ticket({ title: "b", labels: ["x"], rev: 60 }),
    );
  });

  it("lets the later author win and says whose text went", () => {
    const folded = foldEdit(ticket({ title: "a" }), ticket({ title: "b" }), ticket({ title: "c", rev: 4 }));
    expect([folded.ticket.title, folded.notes]).toEqual(["b", ['title: replaced "c", which somebody else had written meanwhile']]);
  });

  it("ignores runner-owned fields, with a note", () => {
    const folded = foldEdit(ticket({ runs: 2 }), ticket({ runs: 9 }), ticket({ runs: 3, rev: 4 }));
    expect(folded).toEqual({
      ticket: ticket({ runs: 3, rev: 4 }),
      intents: [],
      refused: ["runs: only the runner writes this field; the edit is ignored"],
      notes: ["runs: only the runner writes this field; the edit is ignored"],
    });
  });
});

describe("foldEdit: wishes", () => {
  const hold = { by: "ana", at, reason: "lunch" };
  const to = { planId: "p", ticketId: "T", by: "file" };
  const pauses = { type: "pause", ...to, reason: "paused in the file" };
  const skips = { type: "skip", ...to, phase: "review" };
  const running = ticket({ activity: { state: "running", runId: "0001-x", since: at }, currentPhase: "implement" });
  const paused = ticket({ hold, currentPhase: "implement" });
  const broken = ticket({ activity: failed, currentPhase: "implement" });
  const cases: [string, Ticket, TicketEdit, unknown[]][] = [
    ["paused", running, { status: "paused" }, [pauses]],
    ["paused twice", paused, { status: "paused" }, []],
    ["ready after paused", paused, { status: "ready" }, [{ type: "resume", ...to }]],
    ["queued after failed", broken, { status: "queued" }, [{ type: "retry", ...to }]],
    ["ready after failed", broken, { status: "ready" }, [{ type: "retry", ...to }]],
    ["cancelled", running, { status: "cancelled" }, [{ type: "cancel", ...to, reason: "cancelled in the file" }]],
    ["another phase", running, { currentPhase: "review" }, [skips]],
    ["another phase and ready after failed", broken, { currentPhase: "review", status: "ready" }, [skips]],
    ["another phase and ready after paused", paused, { currentPhase: "review", status: "ready" }, [skips, { type: "resume", ...to }]],
    ["another phase and paused", running, { currentPhase: "review", status: "paused" }, [pauses, skips]],
    ["running by hand", broken, { status: "running" }, []],
    ["complete by hand", running, { status: "complete" }, []],
    ["ready while running", running, { status: "ready" }, []],
  ];
  it.each(cases)("%s", (_, now, change, intents) => {
    expect(foldEdit(now, { ...now, ...change }, { ...now, rev: 5 }).intents).toEqual(intents);
  });

  it("explains skip to whoever sets running or complete by hand", () => {
    expect(foldEdit(broken, { ...broken, status: "complete" }, broken).notes).toEqual([
      "status: complete cannot be set by hand; to go on elsewhere set currentPhase, or run: orchestrator skip",
    ]);
  });

  it("reads no wish from a status that the author left as it was, whatever happened since", () => {
    expect(foldEdit(broken, { ...broken, title: "x" }, { ...running, rev: 7 }).intents).toEqual([]);
    expect(foldEdit(running, { ...running, title: "x" }, { ...broken, rev: 7 }).intents).toEqual([]);
    expect(foldEdit(broken, { ...broken, status: "ready" }, { ...running, rev: 7 }).intents).toEqual([]);
  });

  it("reads no wish from a file whose revision is gone", () => {
    const folded = foldEdit(broken, { ...broken, rev: 1, status: "ready" }, { ...broken, rev: 60 });
    expect([folded.intents, folded.notes]).toEqual([[], [expect.stringContaining("no longer kept")]]);
  });
});

const arbitraryTicket = fc
  .record({
    title: fc.constantFrom("a", "b", "c"),
    description: fc.constantFrom("", "x", "y"),
    acceptanceCriteria: fc.array(fc.constantFrom("1", "2"), { maxLength: 2 }),
    priority: fc.constantFrom(null, "P0" as const, "P1" as const),
    labels: fc.option(fc.array(fc.string(), { maxLength: 1 }), { nil: undefined }),
    rev: fc.nat(5),
    runs: fc.nat(5),
    retries: fc.dictionary(fc.constantFrom("a", "b"), fc.nat(3)),
    currentPhase: fc.constantFrom(null, "x", "y"),
    activity: fc.constantFrom<Activity>(ready, failed, { state: "running", runId: "1-x", since: at }, { state: "queued" }),
    hold: fc.constantFrom(null, { by: "a", at, reason: "r" }),
  })
  .map((fields) => {
    const { labels, ...known } = fields;
    return ticket(labels === undefined ? known : { ...known, labels });
  });

it("never loses what a person changed and never alters what the runner owns", () => {
  fc.assert(
    fc.property(arbitraryTicket, arbitraryTicket, arbitraryTicket, (base, theirs, ours) => {
      const folded = foldEdit(base, theirs, ours);
      for (const key of runnerOwned) expect(folded.ticket[key]).toEqual(ours[key]);
      for (const key of [...plannerOwned, "labels"]) {
        const unknown = theirs.rev !== base.rev && !Object.hasOwn(theirs, key);
        const changed = !unknown && JSON.stringify(theirs[key]) !== JSON.stringify(base[key]);
        expect(folded.ticket[key]).toEqual(changed ? theirs[key] : ours[key]);
      }
      // Folding the result of a fold once more changes nothing.
      expect(foldEdit(ours, folded.ticket, folded.ticket)).toMatchObject({ ticket: folded.ticket, intents: [] });
    }),
    { numRuns: 500 },
  );
});
