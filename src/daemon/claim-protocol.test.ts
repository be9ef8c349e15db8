import { describe, expect, it } from "vitest";
import type { TicketEvent } from "../domain/event.ts";
import type { ExitRecord, Observation } from "../domain/run.ts";
import type { Ticket } from "../domain/ticket.ts";
import { instant } from "../domain/time.ts";
import { recover } from "../engine/recover.ts";
import { transition } from "../engine/transition.ts";
import { makeTicket, makeWorkflow } from "../testing/builders.ts";

/**
 * Every order in which the steps of daemons, shims and programs can happen, with deaths in between: a model of files and
 * processes around the real rules (transition, recover), walked exhaustively. A step is what happens between two points at
 * which a process can die: one file created or read, one process started or ended, one commit.
 */

interface Protocol {
  /** The shim runs only what it has claimed. */
  claims: boolean;
  /** A revocation is an exclusive claim too, instead of a file written over whatever is there. */
  revokesExclusively: boolean;
  /** What a dead shim left alive is killed before its run counts as lost. */
  sweeps: boolean;
  /** A living shim is left to its work, instead of being taken for dead. */
  adopts: boolean;
  /** exit.json is looked for once more when the shim is found dead. */
  looksTwice: boolean;
}

const ours: Protocol = { claims: true, revokesExclusively: true, sweeps: true, adopts: true, looksTwice: true };

type Shim = "starting" | "claimed" | "working" | "writing" | "over" | "dead";

interface Run {
  claim: "none" | "shim" | "revoked";
  exit: boolean;
  shim: Shim | "none";
  /** The program that the run is about. */
  program: "none" | "alive" | "gone";
}

/** What a living daemon is about to do. The reads of one look are steps of their own: the world moves between them. */
type Next = "choose" | "spawn" | "read exit" | "read claim" | "read liveness" | "read exit again" | "sweep" | "revoke";

interface State {
  ticket: Ticket;
  daemon: { next: Next; inherited: boolean } | null;
  runs: Record<string, Run>;
  daemonDeaths: number;
  shimDeaths: number;
  powerCuts: number;
  /** Revocations of runs whose shim was only slow. */
  delays: number;
}

const workflow = makeWorkflow([
  { id: "a", type: "script", command: "a.sh", onSuccess: "b" },
  { id: "b", type: "script", command: "b.sh" },
]);
const policy = { retryBackoffSeconds: 0, pollInterval: 5 };
const at = instant(0);
const isAlive = (shim: Run["shim"]) => shim === "claimed" || shim === "working" || shim === "writing";
const exitRecord = {} as ExitRecord;

function successors(state: State, protocol: Protocol, deaths: number): [string, State][] {
  const mayFail = state.daemonDeaths + state.shimDeaths + state.powerCuts + state.delays < deaths;
  return [...daemonSteps(state, protocol, mayFail), ...shimSteps(state, protocol), ...(mayFail ? deathsOf(state) : [])];
}

function daemonSteps(state: State, protocol: Protocol, mayFail: boolean): [string, State][] {
  const { daemon, ticket } = state;
  if (daemon === null) {
    const inherited = ticket.activity.state === "running";
    return [["daemon starts", { ...state, daemon: { next: inherited ? "read exit" : "choose", inherited } }]];
  }
  const go = (next: Next, change: Partial<State> = {}): State => ({ ...state, ...change, daemon: { ...daemon, next } });
  const commit = (event: TicketEvent, next: Next): State => ({
    ...state,
    ticket: transition(ticket, workflow, event, policy).ticket,
    daemon: { next, inherited: false },
  });
  if (ticket.activity.state !== "running") {
    if (ticket.activity.state === "finished") return [];
    const dispatched = commit({ type: "dispatched", at }, "spawn");
    const { activity } = dispatched.ticket;
    if (activity.state === "running")
      dispatched.runs = { ...state.runs, [activity.runId]: { claim: "none", exit: false, shim: "none", program: "none" } };
    return [["daemon commits a start", dispatched]];
  }
  const { runId } = ticket.activity;
  const run = state.runs[runId];
  if (!run) return [];
  const change = (part: Partial<Run>): Partial<State> => ({ runs: { ...state.runs, [runId]: { ...run, ...part } } });
  const settle = (found: Observation): [string, State][] => {
    const step = recover(ticket, found, at);
    if (step.do === "event") return [[`daemon commits ${step.event.type}`, commit(step.event, "choose")]];
    if (step.do === "consume") return [["daemon commits the result", commit({ type: "passed", at, runId, captured: {} }, "choose")]];
    if (step.do === "revoke") {
      if (daemon.inherited || run.shim === "dead") return [["daemon decides to revoke", go("revoke")]];
      // What it has submitted itself it gives time; a shim that needs more than that is only slow.
      const late: [string, State] = ["daemon tires of waiting", go("revoke", { delays: state.delays + 1 })];
      return [["daemon waits", go("choose")], ...(mayFail ? [late] : [])];
    }
    return [["daemon waits", go("choose")]];
  };
  switch (daemon.next) {
    case "choose":
      return [["daemon looks at the run", go("read exit")]];
    case "spawn":
      return [["daemon starts the shim", go("choose", change({ shim: "starting" }))]];
    case "read exit":
      return run.exit ? settle({ state: "finished", exit: exitRecord }) : [["daemon finds no result", go("read claim")]];
    case "read claim":
      if (run.claim === "none") return settle({ state: "unclaimed" });
      if (run.claim === "revoked") return settle({ state: "revoked" });
      return [["daemon finds a claim", go("read liveness")]];
    case "read liveness":
      if (isAlive(run.shim) && protocol.adopts) return settle({ state: "running", pid: 1 });
      return [["daemon finds no shim alive", go(protocol.looksTwice ? "read exit again" : "sweep")]];
    case "read exit again":
      return run.exit ? settle({ state: "finished", exit: exitRecord }) : [["daemon finds it lost", go("sweep")]];
    case "sweep": {
      const swept: Partial<State> = protocol.sweeps && run.program === "alive" ? change({ program: "gone" }) : {};
      return settle({ state: "lost", reason: "died" }).map(([name, next]) => [name, { ...next, runs: swept.runs ?? next.runs }]);
    }
    case "revoke":
      return [
        [
          "daemon claims the run as revoked",
          go("read exit", run.claim === "none" || !protocol.revokesExclusively ? change({ claim: "revoked" }) : {}),
        ],
      ];
  }
}

function shimSteps(state: State, protocol: Protocol): [string, State][] {
  return Object.entries(state.runs).flatMap(([runId, run]): [string, State][] => {
    const become = (name: string, part: Partial<Run>): [string, State] => [
      `${name} ${runId}`,
      { ...state, runs: { ...state.runs, [runId]: { ...run, ...part } } },
    ];
    const orphanEnds: [string, State][] =
      run.program === "alive" && run.shim === "dead" ? [become("orphan ends", { program: "gone" })] : [];
    switch (run.shim) {
      case "starting":
        if (run.claim !== "none" && protocol.claims) return [become("shim finds it claimed", { shim: "over" })];
        return [become("shim claims", { shim: "claimed", claim: run.claim === "none" ? "shim" : run.claim })];
      case "claimed":
        return [become("shim starts the program of", { shim: "working", program: "alive" })];
      case "working":
        return [become("the program ends of", { shim: "writing", program: "gone" })];
      case "writing":
        return [become("shim records the result of", { shim: "over", exit: true })];
      default:
        return orphanEnds;
    }
  });
}

function deathsOf(state: State): [string, State][] {
  const found: [string, State][] = [];
  if (state.daemon) found.push(["daemon dies", { ...state, daemon: null, daemonDeaths: state.daemonDeaths + 1 }]);
  for (const [runId, run] of Object.entries(state.runs)) {
    if (run.shim === "starting" || isAlive(run.shim)) {
      const runs: State["runs"] = { ...state.runs, [runId]: { ...run, shim: "dead" } };
      found.push([`shim dies ${runId}`, { ...state, runs, shimDeaths: state.shimDeaths + 1 }]);
    }
  }
  const cut = Object.entries(state.runs).map(([runId, run]): [string, Run] => {
    const died = run.shim === "starting" || isAlive(run.shim);
    return [runId, { ...run, shim: died ? "dead" : run.shim, program: run.program === "alive" ? "gone" : run.program }];
  });
  found.push(["power is cut", { ...state, daemon: null, runs: Object.fromEntries(cut), powerCuts: state.powerCuts + 1 }]);
  return found;
}

function violation(before: State | undefined, state: State): string | undefined {
  const { ticket, runs } = state;
  const programs = Object.values(runs);
  if (programs.filter((run) => run.program === "alive").length > 1) return "two programs of a ticket are alive";
  for (const [runId, run] of Object.entries(runs)) {
    if (before?.runs[runId]?.program === "gone" && run.program === "alive") return "a run started twice";
  }
  if (ticket.activity.state !== "finished") return undefined;
  const started = programs.filter((run) => run.program !== "none").length;
  const done = ticket.phaseHistory.filter((entry) => entry.status === "success").map((entry) => entry.phase);
  if (ticket.activity.outcome !== "complete" || done.join() !== "a,b") return `it ended as ${ticket.activity.outcome} after ${done.join()}`;
  if (started < 2) return "a phase counts that never ran";
  if (started > 2 + state.shimDeaths + state.powerCuts) return "a phase ran again though nothing of it had died";
  const lost = ticket.phaseHistory.filter((entry) => entry.status === "lost").length;
  return started > 2 + lost ? "a phase ran again without a loss on record" : undefined;
}

interface Result {
  states: number;
  /** The shortest way to a state that must not be. */
  trace?: string[];
  problem?: string;
}

/** Walks all states, breadth first, so that what it finds wrong has the shortest story. */
function walk(protocol: Protocol, deaths: number): Result {
  const first: State = { ticket: makeTicket(), daemon: null, runs: {}, daemonDeaths: 0, shimDeaths: 0, powerCuts: 0, delays: 0 };
  const keyOf = ({ ticket, ...rest }: State) => JSON.stringify([ticket.activity, ticket.phaseHistory, rest]);
  const cameFrom = new Map<string, { from: string | undefined; by: string }>([[keyOf(first), { from: undefined, by: "start" }]]);
  const parents = new Map<string, string[]>();
  const ends: string[] = [];
  let frontier = [first];
  const story = (key: string | undefined): string[] => {
    const step = key === undefined ? undefined : cameFrom.get(key);
    return step === undefined ? [] : [...story(step.from), step.by];
  };
  while (frontier.length > 0) {
    const following: State[] = [];
    for (const state of frontier) {
      const from = keyOf(state);
      if (state.ticket.activity.state === "finished" && Object.values(state.runs).every((run) => run.program !== "alive")) ends.push(from);
      for (const [by, next] of successors(state, protocol, deaths)) {
        const key = keyOf(next);
        parents.set(key, [...(parents.get(key) ?? []), from]);
        if (cameFrom.has(key)) continue;
        cameFrom.set(key, { from, by });
        const problem = violation(state, next);
        if (problem) return { states: cameFrom.size, trace: story(key), problem };
        following.push(next);
      }
    }
    frontier = following;
  }
  const good = new Set(ends);
  for (let open = ends; open.length > 0; ) {
    open = open.flatMap((key) => parents.get(key) ?? []).filter((key) => !good.has(key) && good.add(key));
  }
  const stuck = [...cameFrom.keys()].find((key) => !good.has(key));
  return stuck === undefined
    ? { states: cameFrom.size }
    : { states: cameFrom.size, trace: story(stuck), problem: "nothing leads to an end" };
}

describe("the claim protocol, in every order of steps", () => {
  it("P5 never has two programs of a ticket alive, repeats only what died, and always comes to its end, with up to 3 deaths", () => {
    const result = walk(ours, 3);
    expect(result).toEqual({ states: result.states });
    expect(result.states).toBeGreaterThan(200_000);
  });

  it("P5 starts every phase exactly once when only daemons die", () => {
    expect(walk(ours, 0)).toEqual({ states: expect.any(Number) });
  });

  it.each<[string, Partial<Protocol>, string]>([
    ["a shim that does not claim", { claims: false }, "two programs of a ticket are alive"],
    ["a revocation that is not exclusive", { revokesExclusively: false }, "two programs of a ticket are alive"],
    ["leaving alive what a dead shim has started", { sweeps: false }, "two programs of a ticket are alive"],
    ["taking a living shim for dead", { adopts: false, sweeps: false }, "two programs of a ticket are alive"],
    ["not looking for the result of a dead shim again", { looksTwice: false }, "a phase ran again though nothing of it had died"],
  ])("shows what goes wrong with %s", (_name, change, problem) => {
    const result = walk({ ...ours, ...change }, 3);
    expect(result.problem).toBe(problem);
    expect(result.trace?.length).toBeGreaterThan(3);
  });
});
