import { isProviderTrouble, type Park, type Parks } from "../domain/park.ts";
import { makeDir, writeDurable } from "./atomic-write.ts";
import { readJson, Unreadable } from "./json.ts";
import { parksFile } from "./layout.ts";

/** agents.json: the parks by account. None where there is no such file. Throws Unreadable. */
export function readParks(stateDir: string): Parks {
  const file = parksFile(stateDir);
  const value = readJson(file);
  if (value === undefined) return new Map();
  const parks = (value as { parks?: unknown } | null)?.parks;
  if (typeof parks === "object" && parks !== null && Object.values(parks).every(isPark)) return new Map(Object.entries(parks));
  throw new Unreadable({ file, message: "this is not what a daemon writes", hint: "remove the file; no agent counts as parked meanwhile" });
}

/** Writes agents.json in the place of what was there. The caller holds the daemon lock. Throws system errors. */
export async function writeParks(stateDir: string, parks: Parks): Promise<void> {
  await makeDir(stateDir);
  await writeDurable(parksFile(stateDir), `${JSON.stringify({ schema: 1, parks: Object.fromEntries(parks) }, undefined, 2)}\n`);
}

function isPark(value: unknown): value is Park {
  if (typeof value !== "object" || value === null) return false;
  const { category, reason, agent, ticket, since, at, until, times, limit, served, program } = value as Record<string, unknown>;
  const areTexts = [reason, agent, ticket].every((field) => typeof field === "string");
  const areTimes = [since, at, until].every((field) => typeof field === "string" && !Number.isNaN(Date.parse(field)));
  const areCounts = [times, limit].every((field) => typeof field === "number" && Number.isInteger(field) && field >= 0);
  const isProgram = program === undefined || program === true;
  const areRuns = served === undefined || (Array.isArray(served) && served.every((run) => typeof run === "string"));
  return areRuns && areTexts && areTimes && areCounts && isProgram && typeof category === "string" && isProviderTrouble(category);
}
