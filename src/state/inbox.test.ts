import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { Intent } from "../domain/event.ts";
import { open, state, ticketOf } from "../testing/state.ts";
import { tempDir } from "../testing/temp.ts";
import { answerIntent, awaitAnswer, sendIntent, takeIntents } from "./inbox.ts";
import { inboxDirs } from "./layout.ts";

const pause: Intent = { type: "pause", planId: "p", ticketId: "T", by: "ana", reason: "lunch" };
const resume: Intent = { type: "resume", planId: "p", ticketId: "T", by: "ana" };

it("delivers intents in order until they are answered, and the answer to their sender", async () => {
  const home = tempDir();
  expect(await takeIntents(home)).toEqual([]);
  const first = await sendIntent(home, pause);
  const waiting = awaitAnswer(home, first, 10_000);
  const second = await sendIntent(home, resume);
  expect(await takeIntents(home)).toEqual([
    { id: first, intent: pause },
    { id: second, intent: resume },
  ]);
  await answerIntent(home, first, { result: "applied", message: "paused" });
  expect(await waiting).toEqual({ result: "applied", message: "paused" });
  expect(await takeIntents(home)).toEqual([{ id: second, intent: resume }]);
  expect(await awaitAnswer(home, second, 0)).toBeUndefined();
});

it("P5 an answered intent does not come again when the crash came before its removal", async () => {
  const home = tempDir();
  const id = await sendIntent(home, pause);
  const dirs = inboxDirs(home);
  writeFileSync(join(dirs.done, `${id}.json`), JSON.stringify({ result: "applied", message: "paused" }));
  expect([await takeIntents(home), readdirSync(dirs.new)]).toEqual([[], []]);
  await answerIntent(home, id, { result: "refused", message: "late" });
  expect(await awaitAnswer(home, id, 0)).toEqual({ result: "applied", message: "paused" });
});

it("refuses what is no intent and keeps it", async () => {
  const home = tempDir();
  const good = await sendIntent(home, resume);
  const dirs = inboxDirs(home);
  const bad = "000000000000001-1-x";
  const old = Date.now().toString().padStart(15, "0");
  writeFileSync(join(dirs.new, `${old}-1-y.json`), '{"type": "skip", "planId": "p", "ticketId": "../x", "by": "a", "phase": "b"}');
  writeFileSync(join(dirs.new, `${old}-2-z.json`), "{");
  writeFileSync(join(dirs.new, "notes.txt"), "hello");
  writeFileSync(join(dirs.done, `${bad}.json`), "{}");
  expect((await takeIntents(home)).map(({ id }) => id)).toEqual([good]);
  expect(await awaitAnswer(home, `${old}-1-y`, 0)).toMatchObject({ result: "refused", message: expect.stringContaining("ticketId") });
  expect(await awaitAnswer(home, `${old}-2-z`, 0)).toMatchObject({ result: "refused" });
  expect(readdirSync(dirs.done).sort()).toEqual(
    [`${old}-1-y.json`, `${old}-1-y.refused`, `${old}-2-z.json`, `${old}-2-z.refused`, "notes.txt.refused"].sort(),
  );
});

it("survives a folder where an intent should be", async () => {
  const home = tempDir();
  const good = await sendIntent(home, resume);
  const id = `${Date.now().toString().padStart(15, "0")}-1-y`;
  mkdirSync(join(inboxDirs(home).new, `${id}.json`));
  expect((await takeIntents(home)).map((intent) => intent.id)).toEqual([good]);
  expect(await awaitAnswer(home, id, 0)).toMatchObject({ result: "refused", message: "this is a folder" });
});

it("P5 an intent that was applied but not answered when the daemon died is answered by the next one, and applied once", async () => {
  const stateDir = state();
  const home = tempDir();
  const id = await sendIntent(home, { type: "retry", planId: "p", ticketId: "A", by: "ana" });
  const url = (file: string) => JSON.stringify(join(import.meta.dirname, file));
  const script = `
    const { openIndex } = await import(${url("index.ts")});
    const { takeIntents } = await import(${url("inbox.ts")});
    const index = openIndex(${JSON.stringify(stateDir)}, { writer: true });
    const [{ id }] = await takeIntents(${JSON.stringify(home)});
    const ticket = index.plans.get("p").tickets.get("A").ticket;
    await index.commit("p", { ...ticket, runs: ticket.runs + 1 }, id);
    process.kill(process.pid, "SIGKILL");`;
  const daemon = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "inherit" });
  expect(await once(daemon, "exit")).toEqual([null, "SIGKILL"]);

  const index = open(stateDir);
  await index.poll();
  expect(await awaitAnswer(home, id, 0)).toBeUndefined();
  const waiting = await takeIntents(home);
  expect(waiting.map((intent) => [intent.id, index.hasApplied("p", "A", intent.id)])).toEqual([[id, true]]);
  await answerIntent(home, id, { result: "applied", message: "again" });
  expect([await takeIntents(home), ticketOf(index).runs, await awaitAnswer(home, id, 0)]).toEqual([
    [],
    1,
    { result: "applied", message: "again" },
  ]);
});

it("P5 sweeps what a sender left that died before it had sent", async () => {
  const home = tempDir();
  await sendIntent(home, pause);
  const dirs = inboxDirs(home);
  const dead = spawn("true");
  await once(dead, "exit");
  const old = new Date(Date.now() - 2 * 60_000);
  for (const pid of [dead.pid, process.pid]) {
    writeFileSync(join(dirs.tmp, `.tmp-${pid}-1-x`), "{");
    utimesSync(join(dirs.tmp, `.tmp-${pid}-1-x`), old, old);
  }
  // A sender in a pid namespace has a number that nobody has here.
  writeFileSync(join(dirs.tmp, `.tmp-${dead.pid}-2-x`), "{");
  expect([(await takeIntents(home)).length, readdirSync(dirs.tmp)]).toEqual([1, [`.tmp-${dead.pid}-2-x`]]);
});
