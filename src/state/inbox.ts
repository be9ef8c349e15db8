import { join } from "node:path";
import * as z from "zod";
import type { Answer, Intent } from "../domain/event.ts";
import { Id } from "../domain/id-schema.ts";
import { PlanEdit } from "../domain/plan-edit.ts";
import { Session } from "../domain/session.ts";
import { disk, hasCode, linkExclusive, makeDir, moveTemporary, removeIfThere, sweep, writeTemporary } from "./atomic-write.ts";
import { readJson, Unreadable, validate } from "./json.ts";
import { inboxDirs } from "./layout.ts";
import type { PendingIntent } from "./tickets.ts";

const text = z.string().max(64 * 1024);
const to = { planId: Id, ticketId: Id, by: text };
const caps = { budgetUsd: z.number().min(0).nullable().optional(), budgetTokens: z.number().int().min(0).nullable().optional() };

const IntentFile = z.discriminatedUnion("type", [
  z.object({ type: z.literal("pause"), ...to, reason: text }),
  z.object({ type: z.literal("resume"), ...to }),
  z.object({ type: z.literal("retry"), ...to, message: text.optional() }),
  z.object({ type: z.literal("skip"), ...to, phase: text }),
  z.object({ type: z.literal("cancel"), ...to, reason: text }),
  z.object({ type: z.literal("approve"), ...to, message: text.optional() }),
  z.object({ type: z.literal("reject"), ...to, feedback: text }),
  z.object({ type: z.literal("send"), ...to, message: text.min(1) }),
  z.object({ type: z.literal("take-over"), ...to, session: Session.optional() }),
  z.object({ type: z.literal("hand-back"), ...to, keep: z.boolean(), session: Session.optional() }),
  z.object({ type: z.literal("budget-plan"), planId: Id, by: text, ...caps }),
  z.object({ type: z.literal("pause-plan"), planId: Id, by: text, reason: text }),
  z.object({ type: z.literal("resume-plan"), planId: Id, by: text }),
  z.object({ type: z.literal("approve-plan"), planId: Id, by: text }),
  z.object({ type: z.literal("edit-plan"), planId: Id, by: text, edits: z.array(PlanEdit).min(1) }),
  z.object({ type: z.literal("archive-plan"), planId: Id, by: text, failed: z.boolean() }),
  z.object({ type: z.literal("cancel-plan"), planId: Id, by: text, reason: text }),
  z.object({ type: z.literal("upgrade-workflow"), planId: Id, by: text, workflow: text.optional() }),
  z.object({ type: z.literal("resume-agent"), agent: text, by: text }),
]);

const AnswerFile = z.discriminatedUnion("result", [
  z.object({ result: z.literal("applied"), message: z.string() }),
  z.object({ result: z.literal("refused"), message: z.string(), hint: z.string().optional() }),
]);

const idPattern = /^(\d{15})-\d+-[a-z0-9]+$/;
const keepAnswersMs = 24 * 3600 * 1000;
/** An intent is written in less: one that is left over for longer was never sent. */
const youngMs = 60_000;
let sent = 0;

/** Leaves an intent for the daemon, durably, and gives the id under which it will be answered. */
export async function sendIntent(home: string, intent: Intent): Promise<string> {
  const dirs = await makeDirs(home);
  sent += 1;
  const random = `${sent.toString(36)}x${Math.random().toString(36).slice(2, 10)}`;
  // Names sort by time: intents are applied in the order in which they were sent.
  const id = `${String(Date.now()).padStart(15, "0")}-${process.pid}-${random}`;
  const { path } = await writeTemporary(dirs.tmp, JSON.stringify(intent));
  await moveTemporary(path, join(dirs.new, `${id}.json`));
  return id;
}

async function makeDirs(home: string): Promise<ReturnType<typeof inboxDirs>> {
  const dirs = inboxDirs(home);
  for (const dir of [dirs.tmp, dirs.new, dirs.done]) await makeDir(dir);
  return dirs;
}

/**
 * The intents that wait for an answer, oldest first. They stay until answerIntent(): after a crash they come again, so an
 * applied one has to be recognised by the ids that its ticket's revision remembers. What cannot be read as an intent is
 * refused here. Answers older than a day are removed on the way.
 */
export async function takeIntents(home: string): Promise<PendingIntent[]> {
  const dirs = inboxDirs(home);
  let names: string[];
  try {
    names = disk.readdirSync(dirs.new).sort();
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
  if (names.length === 0) return [];
  const intents: PendingIntent[] = [];
  const answered = await pruneAnswers(dirs.done);
  // Their senders died before they had sent them.
  sweep(dirs.tmp, youngMs);
  for (const name of names) {
    const id = name.replace(/\.json$/, "");
    if (answered.has(name)) {
      // The daemon died between answering and removing it.
      await removeIfThere(join(dirs.new, name));
    } else if (!idPattern.test(id)) {
      await disk.rename(join(dirs.new, name), join(dirs.done, `${name}.refused`));
    } else {
      const intent = await readIntent(home, id, join(dirs.new, name));
      if (intent) intents.push({ id, intent });
    }
  }
  return intents;
}

async function readIntent(home: string, id: string, file: string): Promise<Intent | undefined> {
  try {
    const value = readJson(file);
    return value === undefined ? undefined : (validate(IntentFile, value, file) as Intent);
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    await answer(home, id, { result: "refused", message: error.problem.message, hint: error.problem.hint });
    await disk.rename(file, join(inboxDirs(home).done, `${id}.refused`));
    return undefined;
  }
}

/** Removes old answers; gives the names of those that remain. */
async function pruneAnswers(done: string): Promise<Set<string>> {
  const names = new Set(await disk.readdir(done));
  const oldest = Date.now() - keepAnswersMs;
  for (const name of names) {
    const sentAt = Number(/^\d{15}(?=-)/.exec(name)?.[0] ?? Number.NaN);
    if (sentAt >= oldest || Number.isNaN(sentAt)) continue;
    await removeIfThere(join(done, name));
    names.delete(name);
  }
  return names;
}

async function answer(home: string, id: string, given: Answer): Promise<void> {
  await linkExclusive(join(inboxDirs(home).done, `${id}.json`), JSON.stringify(given));
}

/** Answers an intent, durably, and takes it out of the inbox. The first answer stands. */
export async function answerIntent(home: string, id: string, given: Answer): Promise<void> {
  await answer(home, id, given);
  await removeIfThere(join(inboxDirs(home).new, `${id}.json`));
}

/** Takes an intent out of the inbox that nobody has answered; gives the answer where there is one. The caller holds the daemon lock. */
export async function withdrawIntent(home: string, id: string): Promise<Answer | undefined> {
  const answered = await awaitAnswer(home, id, 0);
  if (!answered) await removeIfThere(join(inboxDirs(home).new, `${id}.json`));
  return answered;
}

/** Waits for the daemon's answer; undefined when there is none after `timeoutMs`. The intent stays in the inbox then. */
export async function awaitAnswer(home: string, id: string, timeoutMs: number): Promise<Answer | undefined> {
  const file = join(inboxDirs(home).done, `${id}.json`);
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = readJson(file);
    if (value !== undefined) return validate(AnswerFile, value, file) as Answer;
    if (performance.now() >= deadline) return undefined;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
