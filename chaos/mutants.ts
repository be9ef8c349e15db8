import type { Size } from "./modes.ts";
import type { Change } from "./variant.ts";
import type { Violation } from "./world.ts";

/** The program without one of its safeguards. The campaign is worth something if it notices. */
export interface Mutant extends Change {
  name: string;
  mode: string;
  /** The smallest campaign that finds it every time. */
  size: Pick<Size, "tickets" | "kills" | "workMs">;
  /** The violations it is found by. */
  expects: Violation["kind"][];
}

const slowly = (write: (from: string, to: string) => string, text: string) =>
  `const text = ${text}; ${write("0", "text.length >> 1")} Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20); ${write("text.length >> 1", "text.length")}`;

/** All of them; each changes one place of one file. */
export const mutants: Mutant[] = [
  {
    name: "no claim: a shim runs whoever has claimed the run",
    file: "src/executors/shim.ts",
    find: "const isOurs = linkExclusiveSync(runFiles(runDir).claim, JSON.stringify(claim));",
    replace: "linkExclusiveSync(runFiles(runDir).claim, JSON.stringify(claim)); const isOurs = true;",
    ...{ mode: "kill", size: { tickets: 10, kills: 40 }, expects: ["revoked", "overlap", "twice", "path"] },
  },
  {
    name: "no lock",
    file: "src/state/lock.ts",
    find: "const release = tryFileLock(lockFile(home));",
    replace: "const release = tryFileLock(lockFile(home)) ?? (() => undefined);",
    ...{ mode: "kill", size: { tickets: 10, kills: 30 }, expects: ["daemons", "crash"] },
  },
  {
    name: "ticket files are written in place",
    file: "src/state/projection.ts",
    find: "  const temp = await writeTemporary(dirname(file), projectionText(truth.ticket));",
    replace: `  { const fs = process.getBuiltinModule("node:fs"); const fd = fs.openSync(file, "w");
    ${slowly((from, to) => `fs.writeSync(fd, text.slice(${from}, ${to}));`, "projectionText(truth.ticket)")}
    fs.closeSync(fd); if (fd > 0) return { result: "written", signature: "", trash: undefined }; }
  const temp = await writeTemporary(dirname(file), projectionText(truth.ticket));`,
    ...{ mode: "kill", size: { tickets: 10, kills: 10 }, expects: ["torn"] },
  },
  {
    name: "ticket files are renamed over edits",
    file: "src/state/projection.ts",
    find: '  if (present !== undefined && !truth.known.includes(present)) return { result: "foreign", trash: undefined };',
    replace: `  const over = await writeTemporary(dirname(file), projectionText(truth.ticket)); await disk.rename(over.path, file);
  if (over) return { result: "written", signature: over.signature, trash: undefined };`,
    ...{ mode: "kill", size: { tickets: 10, kills: 20 }, expects: ["edit"] },
  },
  {
    name: "late saves are dropped",
    file: "src/state/index-state.ts",
    find: "  if (path !== undefined) state.lateSaves.push({ planId, path, due });",
    replace: "",
    ...{ mode: "kill", size: { tickets: 20, kills: 10 }, expects: ["edit"] },
  },
  {
    name: "edits are merged without the revision they were made from",
    file: "src/state/ticket-steps.ts",
    find: "foldEdit(base ?? truth.ticket, edit, truth.ticket)",
    replace: "foldEdit({ ...truth.ticket, rev: edit.rev ?? 0 }, edit, truth.ticket)",
    ...{ mode: "kill", size: { tickets: 10, kills: 10 }, expects: ["path", "unfinished", "answer", "twice"] },
  },
  {
    name: "no adoption: a living run is taken for lost",
    file: "src/engine/recover.ts",
    find: '      return { do: "adopt", runId, stopAgain: activity.stop !== undefined };',
    replace: '      return { do: "event", event: { type: "lost", at, runId, reason: "it is not mine" } };',
    ...{ mode: "kill", size: { tickets: 6, kills: 10 }, expects: ["overlap", "twice"] },
  },
  {
    name: "no sweep: what a lost run has left lives on",
    file: "src/executors/local.ts",
    find: "const survivors = await killTree({ variable: markVariable(realpathSync(dir)), leader: null });",
    replace: "const survivors: number[] = [];",
    ...{ mode: "shims", size: { tickets: 10, kills: 25 }, expects: ["overlap"] },
  },
  {
    name: "a revocation takes the place of a claim",
    file: "src/executors/local.ts",
    find: "await linkExclusive(runFiles(dir).claim, JSON.stringify(claim));",
    replace: "await writeDurable(runFiles(dir).claim, JSON.stringify(claim));",
    ...{ mode: "kill", size: { tickets: 10, kills: 60, workMs: [500, 900] }, expects: ["revoked", "overlap"] },
  },
  {
    name: "what ended while no daemon ran is run again",
    file: "src/daemon/runs.ts",
    find: 'else if (step.do === "consume") await settle(ref, step.exit);',
    replace: `else if (step.do === "consume" && inherited) await report(ref, { type: "lost", at: now(), runId: ref.runId, reason: "it ended" });
    else if (step.do === "consume") await settle(ref, step.exit);`,
    ...{ mode: "kill", size: { tickets: 10, kills: 30 }, expects: ["twice"] },
  },
  {
    name: "a lost run is taken for a failed one",
    file: "src/engine/recover.ts",
    find: 'event: { type: "lost", at, runId, reason: found.reason }',
    replace: 'event: { type: "failed", at, runId, category: "infrastructure", reason: found.reason }',
    ...{ mode: "shims", size: { tickets: 6, kills: 10 }, expects: ["unfinished"] },
  },
  {
    name: "exit.json is written in place",
    file: "src/executors/shim.ts",
    find: "      linkExclusiveSync(path, JSON.stringify(record));",
    replace: `      const fs = process.getBuiltinModule("node:fs");
      ${slowly((from, to) => `fs.appendFileSync(path, text.slice(${from}, ${to}));`, "JSON.stringify(record)")}`,
    ...{ mode: "kill", size: { tickets: 6, kills: 5 }, expects: ["unfinished"] },
  },
  {
    name: "requests are answered before they are carried out",
    file: "src/daemon/runner.ts",
    find: "      const answer = await answerOf(intent, id);\n      if (answer) await answerIntent(home, id, answer);",
    replace: '      await answerIntent(home, id, { result: "applied", message: "" });\n      await answerOf(intent, id);',
    ...{ mode: "kill", size: { tickets: 10, kills: 20 }, expects: ["answer", "unfinished"] },
  },
  {
    name: "a request is carried out again after a crash",
    file: "src/daemon/intents.ts",
    find: "const again = id !== undefined && tools.index.hasApplied(intent.planId, intent.ticketId, id);",
    replace: "const again = false;",
    ...{ mode: "points", size: { tickets: 12, kills: 0 }, expects: ["answer"] },
  },
  {
    name: "a request is removed before it is answered",
    file: "src/state/inbox.ts",
    find: "  await answer(home, id, given);\n  await removeIfThere",
    replace: '  await removeIfThere(join(inboxDirs(home).new, id + ".json"));\n  await answer(home, id, given);\n  await removeIfThere',
    ...{ mode: "points", size: { tickets: 12, kills: 0 }, expects: ["answer"] },
  },
  {
    name: "short writes of a full disk are taken for whole ones",
    file: "src/state/atomic-write.ts",
    find: "  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;",
    replace: "  await file.write(bytes, 0);",
    ...{ mode: "disk", size: { tickets: 10, kills: 16 }, expects: ["torn", "unfinished", "edit", "crash"] },
  },
];
