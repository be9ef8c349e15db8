import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { TicketEvent } from "../domain/event.ts";
import { failureCategories } from "../domain/failure.ts";
import { isProviderTrouble } from "../domain/park.ts";
import { type Reaction, type Reactions, reactionNames, reactionProblem, usualReactions } from "../domain/reaction.ts";
import type { Ticket } from "../domain/ticket.ts";
import { makePlanView, makeTicket, makeWorkflow, makeWorld } from "../testing/builders.ts";
import { reactionTo } from "./reaction.ts";
import { agentsOf, schedule } from "./schedule.ts";
import { type Policy, transition } from "./transition.ts";
import type { Limits } from "./world.ts";

const t0 = "2026-01-01T00:00:00.000Z";
const t1 = "2026-01-01T01:00:00.000Z";
const flow = makeWorkflow([
  { id: "build", type: "agent", promptTemplate: "build", onSuccess: "done", onFailure: "mend", on: { conflict: "merge" }, maxRetries: 1 },
  { id: "mend", type: "agent", promptTemplate: "mend", onSuccess: "build" },
  { id: "merge", type: "agent", promptTemplate: "merge", onSuccess: "build" },
  { id: "done", type: "terminal" },
]);
const [build] = flow.phases;
if (!build) throw new Error("no phase");
const running = makeTicket({
  currentPhase: "build",
  enteredAt: t0,
  visits: { build: 1 },
  retries: { build: 0 },
  runs: 1,
  activity: { state: "running", runId: "0001-build", since: t0 },
});

type Failed = Extract<TicketEvent, { type: "failed" }>;
const failed = (fields: Partial<Failed>): Failed => ({
  type: "failed",
  at: t1,
  runId: "0001-build",
  category: "test",
  reason: "red",
  agent: "claude",
  ...fields,
});
const step = (fields: Partial<Failed>, reactions: Reactions, ticket: Ticket = running) => {
  const policy: Policy = { retryBackoffSeconds: 2, pollInterval: 10, reactions };
  return transition(ticket, flow, failed(fields), policy);
};

describe("the reaction table", () => {
  it("P9 the usual table gives trouble of a provider back, tries work again and never repeats a breach", () => {
    for (const category of failureCategories) {
      const unserved = isProviderTrouble(category);
      const answer = reactionTo({ category, unserved }, { ...build, on: undefined } as typeof build);
      const escalates = category === "isolation" || category === "blocker";
      expect([category, answer]).toEqual([
        category,
        unserved ? { do: "give-back" } : escalates ? { do: "escalate" } : { do: "retry", otherAgent: false },
      ]);
      expect(reactionProblem(category, usualReactions[category])).toBe(undefined);
    }
  });

  it.each<[Reaction, object]>([
    ["retry", { currentPhase: "build", retries: { build: 1 }, activity: { state: "ready", cause: "retry" } }],
    ["switch", { currentPhase: "build", retries: { build: 1 }, activity: { state: "ready", cause: "retry", notAgent: "claude" } }],
    ["fix", { currentPhase: "mend", retries: { build: 0, mend: 0 }, error: "red", activity: { state: "ready", cause: "next" } }],
    ["escalate", { currentPhase: "build", error: "red", activity: { state: "finished", outcome: "needs_attention" } }],
    ["fail", { currentPhase: "build", error: "red", activity: { state: "finished", outcome: "failed" } }],
  ])("%s", (reaction, after) => {
    const { ticket, effects } = step({}, { test: reaction });
    expect(ticket).toMatchObject(after);
    expect(ticket.phaseHistory).toMatchObject([{ status: "failure", category: "test" }]);
    const ended = ticket.activity.state === "finished" ? [{ type: "notify", status: ticket.activity.outcome, reason: "red" }] : [];
    expect(effects).toEqual(ended);
  });

  it("retries end at maxRetries, whoever works", () => {
    for (const reaction of ["retry", "switch"] as const) {
      expect(step({}, { test: reaction }, { ...running, retries: { build: 1 } }).ticket).toMatchObject({ currentPhase: "mend" });
    }
  });

  it("a fix without onFailure fails the ticket", () => {
    const mending = { ...running, currentPhase: "mend" };
    expect(step({}, { test: "fix" }, mending).ticket.activity).toMatchObject({ state: "finished", outcome: "failed" });
  });

  it("an edge of the phase comes before the table, whatever the table says", () => {
    for (const reaction of reactionNames) {
      expect(step({ category: "conflict" }, { conflict: reaction }).ticket.currentPhase).toBe("merge");
    }
  });

  it.each<[Reaction, object]>([
    ["park", { retries: { build: 0 }, unserved: { build: 1 }, activity: { state: "ready", cause: "resume" } }],
    ["switch", { retries: { build: 0 }, unserved: { build: 1 }, activity: { state: "ready", cause: "resume" } }],
    ["retry", { retries: { build: 1 }, unserved: {}, activity: { state: "ready", cause: "retry" } }],
    ["escalate", { unserved: {}, activity: { state: "finished", outcome: "needs_attention" } }],
  ])("P9 trouble of a provider with %s", (reaction, after) => {
    expect(step({ category: "auth", provider: {} }, { auth: reaction }).ticket).toMatchObject(after);
  });

  it("a failure that only sounds like a provider's is a retry of the same agent", () => {
    expect(step({ category: "incompatible" }, {}).ticket.activity).toEqual({
      state: "ready",
      cause: "retry",
      notBefore: expect.any(String),
    });
  });

  it("a poll that timed out is judged by it, too", () => {
    const watch = makeWorkflow([
      { id: "watch", type: "poll", command: "look", timeoutSeconds: 60, onFailure: "done" },
      { id: "done", type: "terminal" },
    ]);
    const ticket = makeTicket({
      currentPhase: "watch",
      enteredAt: t0,
      windowUsedMs: 59_000,
      activity: { state: "running", runId: "0001-watch", since: t0 },
    });
    const event: TicketEvent = { type: "pending", at: t1, runId: "0001-watch", durationMs: 2000 };
    const policy: Policy = { retryBackoffSeconds: 2, pollInterval: 10, reactions: { timeout: "escalate" } };
    expect(transition(ticket, watch, event, policy).ticket.activity).toMatchObject({ outcome: "needs_attention" });
  });

  it("never throws, and whatever is possible leaves a ticket that can go on or has ended", () => {
    const anyCategory = fc.constantFrom(...failureCategories);
    fc.assert(
      fc.property(anyCategory, fc.constantFrom(...reactionNames), fc.boolean(), (category, reaction, unserved) => {
        fc.pre(reactionProblem(category, reaction) === undefined);
        const { ticket } = step({ category, ...(unserved ? { provider: {} } : {}) }, { [category]: reaction });
        expect(["ready", "finished"]).toContain(ticket.activity.state);
        expect(ticket.phaseHistory).toHaveLength(1);
      }),
    );
  });
});

describe("reactions that a category cannot have", () => {
  it("parks agents for trouble of a provider only, and tries no breach again", () => {
    const possible = (category: (typeof failureCategories)[number]) =>
      reactionNames.filter((reaction) => reactionProblem(category, reaction) === undefined);
    expect(possible("auth")).toEqual(["retry", "switch", "park", "fix", "escalate", "fail"]);
    expect(possible("test")).toEqual(["retry", "switch", "fix", "escalate", "fail"]);
    expect(possible("isolation")).toEqual(["fix", "escalate", "fail"]);
    expect(reactionProblem("test", "park")).toEqual({
      message: '"park" is no reaction to test: only trouble of a provider parks an agent, and test is none',
      fix: "use one of retry, switch, fix, escalate, fail",
    });
  });
});

describe("who works after a reaction", () => {
  const limits = (fields: Partial<NonNullable<Limits["providers"]>> = {}): Limits => ({
    maxConcurrency: 8,
    agents: new Map(),
    defaultAgent: "claude",
    pollInterval: 10,
    worktreeRoot: "/worktrees",
    providers: {
      parks: new Map(),
      accounts: new Map(["claude", "codex"].map((name) => [name, name])),
      fallbacks: new Map([["claude", ["codex"]]]),
      manual: false,
      ...fields,
    },
  });
  const ready = (notAgent?: string) =>
    makeTicket({ ...running, activity: { state: "ready", cause: "retry", ...(notAgent ? { notAgent } : {}) } });
  const view = (ticket: Ticket) => makePlanView({ tickets: [ticket], workflows: [flow] });

  it("after a switch another agent, and the same one where there is no other", () => {
    const dispatched = (ticket: Ticket, at: Limits) => schedule(makeWorld([view(ticket)]), at, t1).decisions;
    expect(dispatched(ready("claude"), limits())).toMatchObject([{ do: "dispatch", agent: "codex" }]);
    const [back] = dispatched(ready("codex"), limits());
    expect(back).toMatchObject({ do: "dispatch" });
    expect(back).not.toHaveProperty("agent");
    const [alone] = dispatched(ready("claude"), limits({ fallbacks: new Map() }));
    expect(alone).toMatchObject({ do: "dispatch" });
    expect(alone).not.toHaveProperty("agent");
  });

  it("P9 park: nobody stands in, switch: the next one does", () => {
    const park = {
      category: "auth",
      reason: "",
      agent: "claude",
      ticket: "p/t",
      since: t0,
      at: t0,
      until: "2026-01-02T00:00:00.000Z",
      times: 1,
      limit: 0,
    } as const;
    const parks = new Map([["claude", park]]);
    const who = (at: Limits) => agentsOf(build, ready(), view(ready()), at);
    expect(who(limits({ parks }))).toEqual(["claude", "codex"]);
    expect(who(limits({ parks, alone: ["auth"] }))).toEqual(["claude"]);
    expect(who(limits({ parks, alone: ["rate_limit"] }))).toEqual(["claude", "codex"]);
  });
});
