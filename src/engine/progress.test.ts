import { describe, expect, it } from "vitest";
import type { TicketEvent } from "../domain/event.ts";
import type { Ticket } from "../domain/ticket.ts";
import { plusSeconds } from "../domain/time.ts";
import type { Workflow } from "../domain/workflow.ts";
import { makeTicket, makeWorkflow } from "../testing/builders.ts";
import { type Policy, transition } from "./transition.ts";

const policy: Policy = { retryBackoffSeconds: 2, pollInterval: 10 };
const start = "2026-01-01T00:00:00.000Z";
const session = { id: "s1", provider: "claude" };

type Failed = Partial<Omit<Extract<TicketEvent, { type: "failed" }>, "type" | "at" | "runId">>;

/** Walks a ticket through runs that end as told, "passed" or failed, and says how it stood after each. */
function walk(workflow: Workflow, ends: ("passed" | Failed)[], its: Policy = policy, from = makeTicket()): Ticket[] {
  let ticket = from;
  let at = ticket.enteredAt ?? start;
  return ends.map((end) => {
    at = plusSeconds(at, 1000);
    ticket = transition(ticket, workflow, { type: "dispatched", at }, its).ticket;
    const runId = ticket.activity.state === "running" ? ticket.activity.runId : "none";
    // Only agents name themselves in their results.
    const agent = workflow.phases.find(({ id }) => id === ticket.currentPhase)?.type === "agent" ? { agent: "claude" } : {};
    const news = { at: plusSeconds(at, 1), runId, ...agent };
    const failed = { category: "test", reason: "red", ...(end === "passed" ? {} : end) } as const;
    ticket = transition(
      ticket,
      workflow,
      end === "passed" ? { type: "passed", ...news } : { type: "failed", ...news, ...failed },
      its,
    ).ticket;
    return ticket;
  });
}

const endOf = ({ activity }: Ticket) => (activity.state === "finished" ? activity.outcome : activity.state);
const answers = (tickets: Ticket[]) => tickets.map(({ stuck }) => stuck?.answer ?? null);

describe("P7 a run of an agent that got nowhere", () => {
  const build = { id: "build", type: "agent", promptTemplate: "b", onFailure: "help" } as const;
  const help = { id: "help", type: "terminal", notify: true } as const;
  const flow = makeWorkflow([build, help]);
  const stuck = { category: "stuck", reason: "It made the same call 30 times.", session, nudge: true } as const;

  it.each(["stuck", "stalled", "timeout"] as const)("%s: is told so, then begins anew, then a person has to see", (category) => {
    const tickets = walk(flow, [
      { ...stuck, category },
      { ...stuck, category },
      { ...stuck, category },
    ]);
    expect(answers(tickets)).toEqual(["nudge", "anew", null]);
    expect(tickets.map(endOf)).toEqual(["ready", "ready", "needs_attention"]);
    expect(tickets[0]).toMatchObject({
      stuck: { phase: "build", evidence: stuck.reason, answer: "nudge" },
      nudges: { build: 1 },
      retries: { build: 0 },
      error: stuck.reason,
    });
    expect(tickets[2]?.error).toBe(`Phase "build" got nowhere again after a new beginning: ${stuck.reason}`);
  });

  it("begins anew at once where no conversation can go on", () => {
    const tickets = walk(flow, [{ ...stuck, nudge: false }, stuck]);
    expect(answers(tickets)).toEqual(["anew", null]);
    expect(tickets.map(endOf)).toEqual(["ready", "needs_attention"]);
  });

  it("keeps the note while the run that is to heed it is interrupted, and drops it once that has settled", () => {
    const [nudged] = walk(flow, [stuck]) as [Ticket];
    const at = plusSeconds(start, 5000);
    const running = transition(nudged, flow, { type: "dispatched", at }, policy).ticket;
    const interrupted = transition(running, flow, { type: "interrupted", at, runId: "0002-build", reason: "stopped" }, policy).ticket;
    expect(interrupted.stuck).toEqual(nudged.stuck);
    expect(transition(running, flow, { type: "passed", at, runId: "0002-build" }, policy).ticket.stuck).toBeNull();
    const failed = transition(running, flow, { type: "failed", at, runId: "0002-build", category: "test", reason: "red" }, policy).ticket;
    expect(failed).toMatchObject({ stuck: null, currentPhase: "help" });
  });

  it("may be nudged again in a later visit, and by a person's retry", () => {
    const loop = makeWorkflow([{ ...build, onSuccess: "check" }, { id: "check", type: "script", command: "c", onFailure: "build" }, help]);
    const tickets = walk(loop, [stuck, "passed", {}, stuck]);
    expect(answers(tickets)).toEqual(["nudge", null, null, "nudge"]);
    const ended = walk(flow, [stuck, stuck, stuck]).at(-1) as Ticket;
    const retried = transition(ended, flow, { type: "retried", at: start, by: "ann" }, policy).ticket;
    expect(retried).toMatchObject({ nudges: {}, repeats: {}, stuck: null });
  });

  it("an edge of its category comes first, a script has none of this, and a switch turns it off", () => {
    const led = makeWorkflow([{ ...build, on: { stuck: "help" } }, help]);
    expect(walk(led, [stuck])[0]).toMatchObject({ currentPhase: "help", stuck: null, nudges: {} });
    const script = makeWorkflow([{ id: "build", type: "script", command: "b", onFailure: "help" }, help]);
    expect(walk(script, [{ category: "timeout" }])[0]).toMatchObject({ currentPhase: "help", stuck: null });
    expect(walk(flow, [stuck], { ...policy, progressWatch: "off" })[0]).toMatchObject({ currentPhase: "help", stuck: null });
  });
});

describe("P7 a phase that fails again and again in the same way", () => {
  const fix = { id: "fix", type: "agent", promptTemplate: "f", onSuccess: "check", maxVisits: 50 } as const;
  const check = { id: "check", type: "checks", onSuccess: "done", onFailure: "fix", maxVisits: 50 } as const;
  const done = { id: "done", type: "terminal" } as const;
  const flow = makeWorkflow([check, fix, done]);
  const red = (i: number): Failed => ({ feedback: `FAIL adds (${i} ms) in /tmp/wt-${i}/src/add.test.ts:${i}`, head: `sha${i}` });
  const rounds = (n: number, failed: (i: number) => Failed) => Array.from({ length: n }, (_, i) => [failed(i), "passed" as const]).flat();

  it("has its agent nudged the third time, begin anew the fourth, and asks a person the fifth", () => {
    const tickets = walk(flow, rounds(5, red).slice(0, -1));
    const checked = tickets.filter((_, i) => i % 2 === 0);
    expect(answers(checked)).toEqual([null, null, "nudge", "anew", "anew"]);
    expect(answers(tickets.filter((_, i) => i % 2 === 1))).toEqual([null, null, null, null]);
    expect(checked.map(endOf)).toEqual(["ready", "ready", "ready", "ready", "needs_attention"]);
    expect(checked.at(-1)?.error).toBe('Phase "check" has failed 5 times in a row, in the same way or with nothing changed: red');
    expect(checked.at(-1)?.visits).toEqual({ check: 5, fix: 4 });
  });

  it("nothing changed is the same again, whatever the failure says", () => {
    const words = ["one", "two", "three", "four", "five"];
    const tickets = walk(flow, rounds(5, (i) => ({ feedback: `FAIL ${words[i]}`, head: "same" })).slice(0, -1));
    expect(tickets.map(endOf).at(-1)).toBe("needs_attention");
  });

  it("counts anew once it fails differently or has passed", () => {
    const other = walk(flow, [red(1), "passed", red(2), "passed", { feedback: "FAIL subtracts", head: "x" }, "passed", red(3)]);
    expect(other.at(-1)).toMatchObject({ repeats: {}, stuck: null });
    const loop = makeWorkflow([{ ...check, onSuccess: "fix" }, fix, done]);
    expect(walk(loop, [red(1), "passed", red(2), "passed", "passed", "passed", red(3)]).at(-1)).toMatchObject({ repeats: {} });
  });

  it("takes no retry without an agent's work in between for a sign", () => {
    const patient = makeWorkflow([{ id: "push", type: "script", command: "p", maxRetries: 9 }]);
    const tickets = walk(
      patient,
      Array.from({ length: 9 }, () => ({ reason: "no network", head: "same" })),
    );
    expect(tickets.at(-1)).toMatchObject({ repeats: {}, stuck: null, activity: { state: "ready" } });
  });

  it("an agent that retries alike needs a person before its retries are used up", () => {
    const eager = makeWorkflow([{ id: "build", type: "agent", promptTemplate: "b", maxRetries: 9 }]);
    const tickets = walk(
      eager,
      Array.from({ length: 5 }, (_, i) => ({ category: "verification" as const, head: `${i}` })),
    );
    expect(answers(tickets)).toEqual([null, null, "nudge", "anew", "anew"]);
    expect(tickets.map(endOf)).toEqual(["ready", "ready", "ready", "ready", "needs_attention"]);
  });

  it("what a reviewer finds again and again is told to whoever is to mend it, never to the reviewer", () => {
    const found = (i: number): Failed => ({ category: "verification", reason: "a test is missing", head: `sha${i}` });
    const review = { id: "review", type: "agent", promptTemplate: "r", readOnly: true, onFailure: "fix", maxVisits: 50 } as const;
    const mend = { ...fix, onSuccess: "review" };
    const alone = walk(
      makeWorkflow([{ ...review, maxRetries: 4 }, mend]),
      Array.from({ length: 5 }, () => found(1)),
    );
    expect(answers(alone)).toEqual([null, null, null, null, null]);
    expect(alone.map(({ currentPhase }) => currentPhase)).toEqual(["review", "review", "review", "review", "fix"]);
    const twice = makeWorkflow([{ ...review, maxRetries: 1 }, mend]);
    const tickets = walk(twice, [found(1), found(1), "passed", found(2), found(2), "passed", found(3)]);
    expect(answers(tickets)).toEqual([null, null, null, null, null, null, "nudge"]);
    expect(tickets.at(-1)).toMatchObject({ currentPhase: "fix", repeats: { review: 2 }, stuck: { phase: "review" } });
  });

  it("follows an edge for `stuck` instead, and nothing of it is done when switched off", () => {
    const led = makeWorkflow([{ ...check, on: { stuck: "done" } }, fix, done]);
    expect(walk(led, rounds(3, red).slice(0, -1)).at(-1)).toMatchObject({ currentPhase: "done" });
    const tickets = walk(flow, rounds(5, red).slice(0, -1), { ...policy, progressWatch: "off" });
    expect(tickets.at(-1)).toMatchObject({ repeats: {}, stuck: null, activity: { state: "ready" } });
  });
});
