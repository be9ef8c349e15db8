import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Ticket, TicketFile } from "../domain/ticket.ts";
import { plusSeconds } from "../domain/time.ts";
import { defaultMaxVisits, type FlatPhase, phaseById, type Workflow } from "../domain/workflow.ts";
import { anyMove, anyWorkflow, eventOf, type Move, start } from "../testing/arbitraries.ts";
import { makeTicket } from "../testing/builders.ts";
import type { Step } from "./moves.ts";
import { type Policy, transition } from "./transition.ts";

const policy: Policy = { retryBackoffSeconds: 2, pollInterval: 10 };
const commands = new Set([
  ...["paused", "resumed", "retried", "skipped", "cancelled", "approved", "rejected"],
  ...["sent", "taken_over", "handed_back"],
]);
const results = new Set(["passed", "failed", "pending", "interrupted", "lost"]);

interface Moment {
  before: Ticket;
  event: ReturnType<typeof eventOf>;
  step: Step;
}

/** Everything that happens to a new ticket when the moves come in turn. */
function story(workflow: Workflow, moves: Move[]): Moment[] {
  let ticket = makeTicket();
  let at = start;
  return moves.map((move) => {
    at = plusSeconds(at, move.seconds);
    const event = eventOf(move, ticket, workflow, at);
    const moment = { before: ticket, event, step: transition(ticket, workflow, event, policy) };
    ticket = moment.step.ticket;
    return moment;
  });
}

const anyStory = fc.record({ workflow: anyWorkflow, moves: fc.array(anyMove, { maxLength: 60 }) });

/** Runs `prove` on every moment of random stories. */
function always(prove: (moment: Moment, workflow: Workflow) => void): void {
  fc.assert(
    fc.property(anyStory, ({ workflow, moves }) => {
      for (const moment of story(workflow, moves)) prove(moment, workflow);
    }),
    { numRuns: 600 },
  );
}

function runOf(ticket: Ticket): string | undefined {
  return ticket.activity.state === "running" ? ticket.activity.runId : undefined;
}

function boundsOf(phase: FlatPhase): { visits: number; retries: number; lost: number } {
  return {
    visits: ("maxVisits" in phase ? phase.maxVisits : undefined) ?? defaultMaxVisits,
    retries: "maxRetries" in phase ? phase.maxRetries : 0,
    lost: "maxLost" in phase ? phase.maxLost : 0,
  };
}

describe("any workflow, any order of events", () => {
  it("P5 a run starts only when the run before is settled, under an id of its own, and the ticket runs exactly until it is settled", () => {
    fc.assert(
      fc.property(anyStory, ({ workflow, moves }) => {
        const started = new Set<string>();
        let live: string | undefined;
        for (const { event, step } of story(workflow, moves)) {
          if ((results.has(event.type) || event.type === "faulted") && "runId" in event && event.runId === live) live = undefined;
          for (const effect of step.effects) {
            if (effect.type === "stop") expect(effect.runId).toBe(live);
            if (effect.type !== "start") continue;
            expect(live).toBeUndefined();
            expect(started).not.toContain(effect.runId);
            started.add(effect.runId);
            live = effect.runId;
          }
          expect(runOf(step.ticket)).toBe(live);
        }
      }),
      { numRuns: 1500 },
    );
  });

  it("stale news changes nothing", () => {
    always(({ before, event, step }) => {
      if (!("runId" in event) || event.runId === undefined || event.runId === runOf(before)) return;
      expect(step.ticket).toBe(before);
      expect(step.effects).toEqual([]);
    });
  });

  it("B0.9 only people set and clear holds", () => {
    always(({ before, event, step }) => {
      const those = ["paused", "resumed", "retried", "sent", "taken_over", "handed_back"];
      if (!those.includes(event.type)) expect(step.ticket.hold).toEqual(before.hold);
    });
  });

  it("a held ticket starts nothing", () => {
    always(({ before, step }) => {
      if (before.hold) expect(step.effects.map((effect) => effect.type)).not.toContain("start");
    });
  });

  it("P7 no count goes beyond its bound without ending the ticket", () => {
    always(({ step: { ticket } }, workflow) => {
      for (const phase of workflow.phases) {
        if (phase.type === "terminal") continue;
        const bound = boundsOf(phase);
        const count = (counter: Record<string, number>) => (Object.hasOwn(counter, phase.id) ? (counter[phase.id] ?? 0) : 0);
        expect(count(ticket.retries)).toBeLessThanOrEqual(bound.retries);
        expect(count(ticket.reasked)).toBeLessThanOrEqual(1);
        expect(count(ticket.nudges)).toBeLessThanOrEqual(2);
        expect(count(ticket.repeats)).toBeLessThanOrEqual(4);
        const over = ticket.activity.state === "finished" ? 1 : 0;
        expect(count(ticket.visits)).toBeLessThanOrEqual(bound.visits + over);
        expect(count(ticket.lost)).toBeLessThanOrEqual(bound.lost + over);
      }
    });
  });

  it("a ticket in a terminal phase is finished", () => {
    always(({ step: { ticket } }, workflow) => {
      if (phaseById(workflow, ticket.currentPhase ?? "")?.type === "terminal") expect(ticket.activity.state).toBe("finished");
    });
  });

  it("history is only ever added to, by every result but pending", () => {
    always(({ before, event, step }) => {
      const { phaseHistory } = step.ticket;
      expect(phaseHistory.slice(0, before.phaseHistory.length)).toEqual(before.phaseHistory);
      const settles = results.has(event.type) && event.type !== "pending" && "runId" in event && event.runId === runOf(before);
      if (settles) expect(phaseHistory.slice(before.phaseHistory.length)[0]).toMatchObject({ runId: runOf(before), completedAt: event.at });
    });
  });

  it("a command is refused with a reason exactly when it changes nothing", () => {
    always(({ before, event, step }) => {
      if (!commands.has(event.type)) {
        expect(step.refused).toBeUndefined();
        return;
      }
      expect(step.refused !== undefined).toBe(step.ticket === before);
      if (step.refused === undefined) return;
      expect(step.refused).not.toBe("");
      expect(step.effects).toEqual([]);
    });
  });

  it("people are told once when a ticket needs them, and only then", () => {
    always(({ before, step: { ticket, effects } }) => {
      const told = effects.filter((effect) => effect.type === "notify").map((effect) => effect.status);
      const { activity } = ticket;
      if (activity === before.activity) expect(told).toEqual([]);
      else if (activity.state === "awaiting") expect(told).toEqual(["awaiting_approval"]);
      else if (activity.state === "finished" && ["failed", "needs_attention"].includes(activity.outcome))
        expect(told).toEqual([activity.outcome]);
      else expect(told).toEqual([]);
    });
  });

  it("what it makes of a ticket can be written and read again", () => {
    fc.assert(
      fc.property(anyStory, ({ workflow, moves }) => {
        const ticket = story(workflow, moves).at(-1)?.step.ticket ?? makeTicket();
        expect(TicketFile.parse(JSON.parse(JSON.stringify(ticket)))).toEqual(ticket);
      }),
      { numRuns: 300 },
    );
  });

  it("a person can always get a ticket going again: skip and retry reach a phase whatever came before", () => {
    fc.assert(
      fc.property(anyStory, fc.nat(), ({ workflow, moves }, pick) => {
        const ticket = story(workflow, moves).at(-1)?.step.ticket ?? makeTicket();
        const at = plusSeconds(start, 1_000_000);
        const target = workflow.phases[pick % workflow.phases.length];
        const running = runOf(ticket);
        let { ticket: skipped } = transition(ticket, workflow, { type: "skipped", at, by: "ann", phase: target?.id ?? "" }, policy);
        if (running) skipped = transition(skipped, workflow, { type: "interrupted", at, runId: running, reason: "stopped" }, policy).ticket;
        expect(skipped).toMatchObject({ currentPhase: target?.id, hold: ticket.hold });
        expect(skipped.activity.state === "finished").toBe(target?.type === "terminal");
        const { activity } = ticket;
        if (activity.state !== "finished" || activity.outcome === "complete") return;
        const retried = transition(ticket, workflow, { type: "retried", at, by: "ann" }, policy).ticket;
        expect(retried).toMatchObject({ hold: null, error: null });
        expect(["ready", "waiting", "awaiting"]).toContain(retried.activity.state);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("P7 whatever the runs do, a ticket ends", () => {
  const outcome = fc.record({
    type: fc.constantFrom("passed" as const, "failed" as const, "lost" as const),
    pick: fc.nat(),
    reask: fc.boolean(),
  });

  /** Dispatches a ticket until it ends; `next` says how each run ends. Gates are rejected or approved alike. */
  function runsUntilEnd(workflow: Workflow, next: (i: number) => Pick<Move, "type" | "pick" | "reask">): number {
    const bound = boundOf(workflow);
    let ticket = makeTicket();
    let runs = 0;
    for (let i = 0; ticket.activity.state !== "finished"; i++) {
      if (runs > bound) return runs;
      const at = plusSeconds(start, i * 10_000);
      const { state } = ticket.activity;
      const { pick, reask, type } = next(i);
      const move = { stale: false, seconds: 0, pick, reask };
      const gate = type === "passed" ? "approved" : "rejected";
      const happens: Move["type"] = state === "running" ? type : state === "waiting" ? "due" : state === "awaiting" ? gate : "dispatched";
      if (state === "running") runs++;
      ticket = transition(ticket, workflow, eventOf({ ...move, type: happens }, ticket, workflow, at), policy).ticket;
    }
    return runs;
  }

  function boundOf(workflow: Workflow): number {
    return workflow.phases.reduce((sum, phase) => {
      const bound = boundsOf(phase);
      const nudges = phase.type === "agent" ? 2 : 0;
      return sum + bound.visits * (1 + bound.retries + 1 + nudges) + bound.lost + 1;
    }, 0);
  }

  it("every sequence of failing runs ends within visits × (1 + retries + one re-ask, for an agent one nudge and one new beginning)", () => {
    fc.assert(
      fc.property(anyWorkflow, fc.infiniteStream(outcome), (workflow, outcomes) => {
        const runs = runsUntilEnd(workflow, () => ({ ...(outcomes.next().value ?? { pick: 0, reask: false }), type: "failed" }));
        expect(runs).toBeLessThanOrEqual(boundOf(workflow));
      }),
      { numRuns: 500 },
    );
  });

  it("every sequence of passing, failing and lost runs ends within that and maxLost", () => {
    fc.assert(
      fc.property(anyWorkflow, fc.infiniteStream(outcome), (workflow, outcomes) => {
        const runs = runsUntilEnd(workflow, () => outcomes.next().value ?? { type: "passed", pick: 0, reask: false });
        expect(runs).toBeLessThanOrEqual(boundOf(workflow));
      }),
      { numRuns: 1000 },
    );
  });
});
