import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createContext } from "../app.ts";
import { checkOf } from "../lib/json-schema.ts";
import { glanceAtPlans } from "../state/glance.ts";
import { openIndex } from "../state/index.ts";
import { ticketOf } from "../testing/state.ts";
import { type Home, makeHome } from "./cli-fixture.ts";
import { run } from "./status.ts";
import { showInFull } from "./status-in-full.ts";

const docs = (name: string) => JSON.parse(readFileSync(join(import.meta.dirname, `../../docs/schema/${name}.schema.json`), "utf8"));
const shapes = { plan: checkOf(docs("plan")), ticket: checkOf(docs("ticket")) };

/** A home whose plan "p" has tickets in every state: committed ones, files of the first seed, and ones nobody has touched. */
async function busyHome(): Promise<Home> {
  const home = makeHome();
  const at = "2026-01-01T00:00:00.000Z";
  const files = {
    fresh: {},
    seed: { status: "running", currentPhase: "one", phaseHistory: [{ phase: "one", status: "failure", startedAt: at }], mine: { x: 1 } },
    stopped: { status: "paused" },
    ended: { status: "complete", phaseHistory: [{ phase: "two", status: "success", startedAt: at, completedAt: at, costUsd: 1 }] },
    working: {},
    gone: { title: "A <title>\u2028 of some words", workflow: "flow" },
  };
  const tickets = Object.keys(files).map((ticketId, order) => ({ ticketId, order, ...(order === 4 ? { blockedBy: ["fresh"] } : {}) }));
  home.write("state/plans/p/plan.json", { id: "p", repo: "/repo", workflow: "flow", tickets });
  for (const [ticketId, fields] of Object.entries(files)) {
    home.write(`state/plans/p/tickets/${ticketId}.json`, { planId: "p", ticketId, ...fields });
  }
  const index = openIndex(join(home.dir, "state"), { writer: true });
  const session = { provider: "claude", id: "abc" };
  const running = { state: "running", runId: "0001-one", since: at } as const;
  await index.commit("p", { ...ticketOf(index, "working"), activity: running, currentPhase: "one", currentSession: session });
  for (const outcome of ["failed", "needs_attention", "cancelled"] as const) {
    await index.commit("p", {
      ...ticketOf(index, "gone"),
      activity: { state: "finished", outcome, at },
      error: outcome,
      context: { pr_url: "x" },
    });
  }
  const file = join(home.dir, "state/plans/p/tickets/working.json");
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), status: "complete" }));
  await index.poll();
  index.close();
  home.write("state/plans/q/plan.json", { id: "q", status: "draft", name: "Another", hold: { by: "ada", at, reason: "later" } });
  return home;
}

async function shown(home: Home, show: typeof run, options: { plan?: string } = {}): Promise<string> {
  let text = "";
  const output = { write: (part: string) => (text += part) };
  const parts = { env: home.env, cwd: home.dir, version: "0", stdout: output, stderr: output, options: {} };
  await show(createContext(parts), [], options);
  return text.replaceAll(/\d+d( \d+h)?/g, "long");
}

const inFull: typeof run = (context, _args, options) => showInFull(context, options);

describe("status at a glance", () => {
  it("knows of healthy plans what the full reader knows", async () => {
    const home = await busyHome();
    const stateDir = join(home.dir, "state");
    const index = openIndex(stateDir, { writer: false });
    const full = [...index.plans].map(([id, { plan, problems, twin, ticketTwins, tickets }]) => {
      return {
        id,
        plan,
        problems,
        twin,
        ticketTwins,
        tickets: [...tickets].map(([ticketId, { ticket, problem }]) => ({ ticketId, ticket, problem })),
      };
    });
    index.close();
    const undated = (value: unknown) => JSON.parse(JSON.stringify(value, (key, item) => (key === "at" ? "" : item)));
    const byId = (a: { ticketId: string }, b: { ticketId: string }) => (a.ticketId < b.ticketId ? -1 : 1);
    const glanced = [...(glanceAtPlans(stateDir, shapes) ?? [])].map(([id, { tickets, ...plan }]) => {
      return { id, ...plan, tickets: [...tickets].map(([ticketId, entry]) => ({ ticketId, ...entry })).toSorted(byId) };
    });
    expect(undated(glanced)).toEqual(undated(full.map((plan) => ({ ...plan, tickets: plan.tickets.toSorted(byId) }))));
  });

  it("shows what the full reader shows", async () => {
    const home = await busyHome();
    for (const options of [{}, { plan: "p" }, { plan: "q" }])
      expect(await shown(home, run, options)).toBe(await shown(home, inFull, options));
    home.write("config.yaml", "defaultAgent: claude\nagents: { claude: { command: claude } }\nunheardOf: 1\n");
    expect(await shown(home, run)).toBe(await shown(home, inFull));
  });

  const plan = "state/plans/p/plan.json";
  const working = "state/plans/p/tickets/working.json";
  const revision = "state/plans/p/.orch/revs/working/2.json";
  const text = (home: Home, path: string) => readFileSync(join(home.dir, path), "utf8");
  it.each<[string, (home: Home) => void]>([
    ["an edit that no daemon has seen", (home) => home.write(working, { ...JSON.parse(text(home, working)), title: "New" })],
    ["a file that was never updated", (home) => home.write(working, { planId: "p", ticketId: "working" })],
    ["a missing file", (home) => rmSync(join(home.dir, working))],
    ["a file that is no JSON", (home) => home.write(working, "{")],
    ["a wrong type", (home) => home.write("state/plans/p/tickets/fresh.json", { planId: "p", ticketId: "fresh", retries: { a: "1" } })],
    ["ids of another ticket", (home) => home.write("state/plans/p/tickets/fresh.json", { planId: "p", ticketId: "Fresh" })],
    ["a NUL", (home) => home.write("state/plans/p/tickets/fresh.json", { planId: "p", ticketId: "fresh", title: "\0" })],
    ["a newer format", (home) => home.write("state/plans/p/tickets/fresh.json", { schema: 2, planId: "p", ticketId: "fresh" })],
    ["a broken revision", (home) => home.write(revision, text(home, revision).slice(0, -3))],
    ["a broken next revision", (home) => home.write("state/plans/p/.orch/revs/working/3.json", "")],
    ["a lost revision", (home) => rmSync(join(home.dir, revision))],
    ["an unlisted file", (home) => home.write("state/plans/p/tickets/extra.json", { planId: "p", ticketId: "extra" })],
    ["a name that is no id", (home) => home.write("state/plans/p/tickets/a b.json", {})],
    [
      "an edit that is not applied yet",
      (home) => home.write(revision, text(home, revision).replace('"pending":[]', '"pending":[{"id":"x","intent":{}}]')),
    ],
    ["revisions of a ticket that is gone", (home) => mkdirSync(join(home.dir, "state/plans/p/.orch/revs/old"))],
    ["a plan without plan.json", (home) => mkdirSync(join(home.dir, "state/plans/empty"))],
    ["a plan of another id", (home) => home.write("state/plans/q/plan.json", { id: "Q" })],
    ["a wrong plan", (home) => home.write(plan, { ...JSON.parse(text(home, plan)), maxParallel: 0 })],
    ["a folder that can be no plan", (home) => mkdirSync(join(home.dir, "state/plans/a b"))],
    [
      "a plan behind a link",
      (home) => {
        renameSync(join(home.dir, "state/plans/q"), join(home.dir, "q"));
        symlinkSync(join(home.dir, "q"), join(home.dir, "state/plans/q"));
      },
    ],
    ["a folder in place of a file", (home) => mkdirSync(join(home.dir, "state/plans/p/tickets/x.json"))],
  ])("P10 leaves %s to the full reader", async (_, harm) => {
    const home = await busyHome();
    harm(home);
    expect(glanceAtPlans(join(home.dir, "state"), shapes)).toBeUndefined();
    expect(await shown(home, run)).toBe(await shown(home, inFull));
  });

  it("needs no state folder", () => {
    const home = makeHome();
    expect(glanceAtPlans(join(home.dir, "state"), shapes)).toEqual(new Map());
    writeFileSync(join(home.dir, "state"), "");
    expect(glanceAtPlans(join(home.dir, "state"), shapes)).toBeUndefined();
  });
});
