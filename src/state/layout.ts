import { join } from "node:path";
import { UserError } from "../domain/errors.ts";
import { idProblem } from "../domain/ids.ts";
import type { RunRef } from "../domain/run.ts";

/** Every place the program writes to. `home` is ~/.orchestrator by default, `stateDir` is `<home>/state` by default. */

function checked(id: string, what: string): string {
  const problem = idProblem(id);
  if (problem) throw new UserError(`${JSON.stringify(id)} is not a ${what}.`, { hint: problem, exit: "usage" });
  return id;
}

/** A run's id is its number, a dash and its phase: the phase alone may be as long as an id can be. */
function checkedRun(runId: string): string {
  checked(runId.replace(/^\d{1,9}-/, ""), "run id");
  return runId;
}

/** Locked by whoever may commit. Nothing may open it but acquireDaemonLock(). */
export function lockFile(home: string): string {
  return join(home, "lock", "daemon.lock");
}

/** Folder of all locks: the daemon's, and those that keep two git commands of ours from one repository. */
export function lockDir(home: string): string {
  return join(home, "lock");
}

/** What the installed agents were found to take, a file for each of them. Whoever misses one asks the agent again. */
export function probesDir(home: string): string {
  return join(home, "cache", "agents");
}

export function daemonFile(home: string): string {
  return join(home, "daemon.json");
}

/** What a person wrote in an editor and could not be used. */
export function keptEditFile(home: string, planId: string): string {
  return join(home, "edits", `${checked(planId, "plan id")}.yaml`);
}

/** What a running daemon is asked: to end, and how. */
export function stopFile(home: string): string {
  return join(home, "stop.json");
}

/** `tmp`: being written. `new`: waiting for the daemon. `done`: answers. */
export interface InboxDirs {
  tmp: string;
  new: string;
  done: string;
}

export function inboxDirs(home: string): InboxDirs {
  const inbox = join(home, "inbox");
  return { tmp: join(inbox, "tmp"), new: join(inbox, "new"), done: join(inbox, "done") };
}

/** The folder of one run: spec, prompt, claim, streams, exit. */
export function runDir(home: string, ref: RunRef): string {
  return join(home, "run", checked(ref.planId, "plan id"), checked(ref.ticketId, "ticket id"), checkedRun(ref.runId));
}

export function daemonLogFile(home: string): string {
  return join(home, "logs", "orchestrator.log");
}

/** What a daemon in the background prints beside its log: the last words of one that crashed. */
export function daemonOutputFile(home: string): string {
  return join(home, "logs", "daemon.out");
}

export function ticketLogFile(home: string, planId: string, ticketId: string): string {
  return join(home, "logs", checked(planId, "plan id"), `${checked(ticketId, "ticket id")}.log`);
}

/** Which agents wait for their provider. */
export function parksFile(stateDir: string): string {
  return join(stateDir, "agents.json");
}

export function plansDir(stateDir: string): string {
  return join(stateDir, "plans");
}

/** Plans that are over and were put away, each in its folder as it was. */
export function archiveDir(stateDir: string): string {
  return join(stateDir, "archive");
}

/** Where a plan is put away. */
export function archivedPlanDir(stateDir: string, planId: string): string {
  return join(archiveDir(stateDir), checked(planId, "plan id"));
}

export function planDir(stateDir: string, planId: string): string {
  return join(stateDir, "plans", checked(planId, "plan id"));
}

export function planFile(stateDir: string, planId: string): string {
  return join(planDir(stateDir, planId), "plan.json");
}

export function ticketsDir(stateDir: string, planId: string): string {
  return `${planDir(stateDir, planId)}/tickets`;
}

/** The projection of a ticket that people read and edit. */
export function ticketFile(stateDir: string, planId: string, ticketId: string): string {
  // One join is enough, here and below: `status` asks for this once per ticket.
  return `${ticketsDir(stateDir, planId)}/${checked(ticketId, "ticket id")}.json`;
}

/** One folder per ticket that was ever committed. */
export function allRevsDir(stateDir: string, planId: string): string {
  return `${planDir(stateDir, planId)}/.orch/revs`;
}

export function revsDir(stateDir: string, planId: string, ticketId: string): string {
  return `${allRevsDir(stateDir, planId)}/${checked(ticketId, "ticket id")}`;
}

export function revFile(stateDir: string, planId: string, ticketId: string, rev: number): string {
  return `${revsDir(stateDir, planId, ticketId)}/${rev}.json`;
}

/** What was replaced, for a few seconds. */
export function trashDir(stateDir: string, planId: string): string {
  return join(planDir(stateDir, planId), ".orch", "trash");
}

/** Tickets that were taken off the plan before anybody worked at them. */
export function removedDir(stateDir: string, planId: string): string {
  return join(planDir(stateDir, planId), ".orch", "removed");
}

/** What could not be read. */
export function quarantineDir(stateDir: string, planId: string): string {
  return join(planDir(stateDir, planId), ".orch", "quarantine");
}

/** The workflow texts that the plan's tickets run under. */
export function pinnedWorkflowsDir(stateDir: string, planId: string): string {
  return join(planDir(stateDir, planId), "workflows");
}

export function pinnedWorkflowFile(stateDir: string, planId: string, name: string, sha: string): string {
  return join(pinnedWorkflowsDir(stateDir, planId), `${checked(name, "workflow name")}.${checked(sha, "digest")}.yaml`);
}

/** What the plan's runs of agents have cost, one line per run. */
export function ledgerFile(stateDir: string, planId: string): string {
  return join(planDir(stateDir, planId), "ledger.jsonl");
}

export function journalFile(stateDir: string, planId: string): string {
  return join(planDir(stateDir, planId), "journal.jsonl");
}
