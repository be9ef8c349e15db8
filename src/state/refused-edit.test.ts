import { writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import type { Ticket } from "../domain/ticket.ts";
import { fileOf, json, open, state, ticketOf } from "../testing/state.ts";

const refusal = "status: complete cannot be set by hand; to go on elsewhere set currentPhase, or run: orchestrator skip";
const failed: Ticket["activity"] = { state: "finished", outcome: "failed", at: "2026-11-21T12:00:00.000Z" };

/** A state whose ticket A has failed in a phase, and whose file somebody has just set to complete. */
async function refusedState(activity = failed) {
  const stateDir = state();
  const index = open(stateDir);
  await index.commit("p", { ...ticketOf(index), activity, currentPhase: "work" });
  const save = (change: Record<string, unknown>) =>
    writeFileSync(fileOf(stateDir, "A"), JSON.stringify({ ...json(fileOf(stateDir, "A")), ...change }));
  save({ status: "complete" });
  const changes = await index.poll();
  return { stateDir, index, save, changes };
}

it("a status that is set by hand is refused, and the ticket says so to every reader", async () => {
  const { stateDir, index, changes } = await refusedState();
  expect(changes).toEqual([{ planId: "p", ticketId: "A", kind: "changed", notes: [refusal] }]);
  expect(ticketOf(index)).toMatchObject({ status: "failed", refusedEdit: refusal });
  expect(json(fileOf(stateDir, "A"))).toMatchObject({ status: "failed", refusedEdit: refusal });
  expect(ticketOf(open(stateDir, { writer: false })).refusedEdit).toBe(refusal);
  expect(ticketOf(open(stateDir)).refusedEdit).toBe(refusal);
});

it("it says so until the file is edited again", async () => {
  const { stateDir, index, save } = await refusedState();
  save({ title: "b" });
  await index.poll();
  expect(ticketOf(index)).toMatchObject({ title: "b", status: "failed" });
  expect([ticketOf(index).refusedEdit, Object.hasOwn(json(fileOf(stateDir, "A")), "refusedEdit")]).toEqual([undefined, false]);
  save({ status: "running" });
  await index.poll();
  expect(ticketOf(index).refusedEdit).toContain("status: running cannot be set by hand");
});

it("it says so until the ticket moves on, whatever state the runner computed its step from", async () => {
  const { index } = await refusedState();
  const { refusedEdit: _, ...known } = ticketOf(index);
  await index.commit("p", { ...(known as Ticket), runs: 4 });
  expect(ticketOf(index)).toMatchObject({ runs: 4, refusedEdit: refusal });
  await index.commit("p", { ...ticketOf(index), activity: { state: "ready", cause: "retry" } });
  expect(ticketOf(index).refusedEdit).toBeUndefined();
});

it("why an intent of an edit was not followed is kept as well, that of a command is not", async () => {
  const { index, save } = await refusedState();
  save({ currentPhase: "nowhere" });
  const [id = ""] = (await index.poll()).flatMap(({ intents }) => intents ?? []).map((intent) => intent.id);
  await index.commit("p", ticketOf(index), "000000000000001-1-a", "not this");
  expect(ticketOf(index).refusedEdit).toBeUndefined();
  await index.commit("p", ticketOf(index), id, "There is no such phase.");
  expect(ticketOf(index).refusedEdit).toBe("There is no such phase.");
});

it("a ticket that was never started is not taken for complete after a restart", async () => {
  const stateDir = state({ A: { status: "queued" } });
  const index = open(stateDir);
  writeFileSync(fileOf(stateDir, "A"), JSON.stringify({ ...json(fileOf(stateDir, "A")), status: "complete" }));
  await index.poll();
  expect(ticketOf(index)).toMatchObject({ status: "queued", refusedEdit: refusal });
  expect(ticketOf(open(stateDir))).toMatchObject({ status: "queued", refusedEdit: refusal });
});
