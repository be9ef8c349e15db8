import { mkdirSync, readFileSync, renameSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { Ticket } from "../domain/ticket.ts";
import { type Index, openIndex } from "../state/index.ts";
import { tempDir } from "./temp.ts";

/** A state folder with plan p and these tickets, all of it old enough to be believed at once. */
export function state(tickets: Record<string, unknown> = { A: {} }): string {
  const stateDir = tempDir();
  mkdirSync(join(stateDir, "plans/p/tickets"), { recursive: true });
  const ids = Object.keys(tickets);
  writeFileSync(join(stateDir, "plans/p/plan.json"), JSON.stringify({ id: "p", tickets: ids.map((ticketId) => ({ ticketId })) }));
  for (const id of ids) {
    const content = tickets[id];
    const text = typeof content === "string" ? content : JSON.stringify({ planId: "p", ticketId: id, ...(content as object) });
    writeFileSync(fileOf(stateDir, id), text);
    age(fileOf(stateDir, id));
  }
  return stateDir;
}

/** The ticket file of this id. */
export function fileOf(stateDir: string, id: string): string {
  return join(stateDir, "plans/p/tickets", `${id}.json`);
}

/** Makes a file a minute old. */
export function age(file: string): void {
  utimesSync(file, new Date(Date.now() - 60_000), new Date(Date.now() - 60_000));
}

/** An index that is closed when the test is over. */
export function open(stateDir: string, options: Partial<Parameters<typeof openIndex>[1]> = {}): Index {
  const index = openIndex(stateDir, { writer: true, ...options });
  onTestFinished(() => index.close());
  return index;
}

/** Throws when the index does not have the ticket. */
export function ticketOf(index: Index, id = "A", plan = "p"): Ticket {
  const ticket = index.plans.get(plan)?.tickets.get(id)?.ticket;
  if (!ticket) throw new Error(`no ticket ${id}`);
  return ticket;
}

/** The object that a file holds. */
export function json(file: string): Record<string, unknown> {
  return JSON.parse(readFileSync(file, "utf8"));
}

/** Saves as editors do that write a new file and rename it. */
export function saveWhole(file: string, value: unknown): void {
  writeFileSync(`${file}.new`, JSON.stringify(value));
  renameSync(`${file}.new`, file);
}
