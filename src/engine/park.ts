import type { FailureCategory } from "../domain/failure.ts";
import type { Park, Parks, ProviderTrouble } from "../domain/park.ts";
import { type DayHours, endOfHours, type Instant, plusSeconds, secondsBetween } from "../domain/time.ts";
import { fraction } from "./jitter.ts";

/** What is known of the providers of all agents at one moment. */
export interface Providers {
  parks: Parks;
  /** Every configured agent, with the account whose limits it shares. */
  accounts: ReadonlyMap<string, string>;
  /** Who stands in for an agent, in this order. */
  fallbacks: ReadonlyMap<string, readonly string[]>;
  /** Parks end by a person's command alone. */
  manual: boolean;
  /** When no park ends by itself. */
  quietHours?: DayHours;
  /** Trouble in which nobody stands in; absent: none. */
  alone?: readonly FailureCategory[];
}

/** A run that its provider did not serve. */
export interface Trouble {
  category: ProviderTrouble;
  reason: string;
  agent: string;
  /** "plan/ticket" */
  ticket: string;
  /** When the run began, and when it ended. */
  startedAt: Instant;
  at: Instant;
  /** When it ends, where the provider told. */
  resetsAt?: Instant;
  /** The agent's program is to blame, and looking at it tells when it is not any more. */
  program?: true;
}

const minute = 60;
/** How long it is waited where nobody told: at first, doubling with every repetition, and at most. In seconds. */
const pauses: Record<ProviderTrouble, [first: number, longest: number]> = {
  rate_limit: [30, 30 * minute],
  overloaded: [30, 30 * minute],
  unavailable: [30, 30 * minute],
  usage_limit: [60 * minute, 60 * minute],
  auth: [15 * minute, 15 * minute],
  incompatible: [15 * minute, 15 * minute],
};
/** A run tries a program that was missing all the same: not everything that makes one work can be seen by looking at it. */
const programSeconds = 60 * minute;
/** Weekly limits are the longest there are. */
const longestLimitSeconds = 8 * 24 * 3600;
const longestJitterSeconds = 60;
const trialLimit = 4;
const reasonLimit = 1000;

/** The account of an agent. */
export function accountOf(providers: Providers | undefined, agent: string): string {
  return providers?.accounts.get(agent) ?? agent;
}

/**
 * The park of an account after one more run was not served, and whether that is news to people. Runs that had begun before
 * the trouble was first met say the same thing once more; only what they know of its end counts.
 */
export function meetTrouble(before: Park | undefined, trouble: Trouble): { park: Park; isNews: boolean } {
  const { category, agent, ticket, at } = trouble;
  const isNews = before === undefined || before.times === 0 || before.category !== category;
  const reason = trouble.reason.replace(/\s+/g, " ").trim().slice(0, reasonLimit);
  // News of runs that end together may come in another order; what lies far before the last one came after the clock was set back.
  const isOld = before !== undefined && secondsBetween(at, before.at) < minute && trouble.startedAt <= before.at;
  // A person mended it while this run still met it.
  if (isOld && before.times === 0) return { park: before, isNews: false };
  const isSame = isOld && before.limit === 0 && at < before.until;
  const reset = resetOf(trouble);
  if (isSame && (reset === undefined || reset <= before.until)) return { park: before, isNews: false };
  const timesBefore = before?.category === category ? before.times : 0;
  const times = isSame ? before.times : timesBefore + 1;
  // A limit whose time is over may take a moment to be lifted.
  const isOverdue = trouble.resetsAt !== undefined && trouble.resetsAt <= at;
  const pause = trouble.program ? programSeconds : pauseSeconds(isOverdue ? "rate_limit" : category, times, `${agent} ${at}`);
  const until = reset ?? plusSeconds(at, pause);
  const program = trouble.program ? { program: true as const } : {};
  return { park: { category, reason, agent, ticket, since: before?.since ?? at, at, until, times, limit: 0, ...program }, isNews };
}

/** When the trouble ends as its provider told it, a little later for each a little differently; undefined for nothing sensible. */
function resetOf({ resetsAt, at, agent }: Trouble): Instant | undefined {
  if (resetsAt === undefined) return undefined;
  // A time without seconds may mean any of that minute.
  const end = plusSeconds(resetsAt, resetsAt.endsWith(":00.000Z") ? minute : 1);
  const seconds = secondsBetween(at, end);
  if (!(seconds > 0) || seconds > longestLimitSeconds) return undefined;
  return plusSeconds(end, Math.min(longestJitterSeconds, seconds / 10) * fraction(`${agent} ${at}`));
}

function pauseSeconds(category: ProviderTrouble, times: number, seed: string): number {
  const [first, longest] = pauses[category];
  return Math.min(longest, first * 2 ** (times - 1)) * (1 + fraction(seed) / 4);
}

/**
 * The park after a run of its account was served: each such run that began since doubles what may run, until nothing is left of it.
 * `run` names it, as "plan/ticket/run": one that is told of again counts once.
 */
export function meetService(before: Park, startedAt: Instant, run: string): Park | undefined {
  const { served = [] } = before;
  if (startedAt <= before.at || served.includes(run)) return before;
  const limit = 2 * Math.max(1, before.limit);
  return limit > trialLimit ? undefined : { ...before, limit, served: [...served, run] };
}

/** Whether a run that failed like this had its answers from the provider. Where that cannot be told, it had not. */
export function isServed(category: FailureCategory): boolean {
  const answers: FailureCategory[] = ["test", "implementation", "verification", "scope", "conflict", "stuck", "blocker", "budget"];
  return answers.includes(category);
}

/** The park once a person has said that the trouble is over: one run tries at once, and what it meets is news again. */
export function reopen({ served: _, ...before }: Park, at: Instant): Park {
  return { ...before, until: at, times: 0, limit: 1 };
}

/** The park once what caused it is seen to be over: its time has come, and what the next run meets is news. */
export function expire(before: Park, at: Instant): Park {
  return { ...before, until: at, times: 0 };
}

/** How many runs begun since its trouble an account may have at once; undefined: as many as there is other room for. */
export function placesOf(providers: Providers | undefined, account: string, now: Instant): number | undefined {
  const park = providers?.parks.get(account);
  if (!park) return undefined;
  if (park.limit > 0) return park.limit;
  return !providers?.manual && isOver(park, now) && !isQuiet(providers, now) ? 1 : 0;
}

/** Whether its time has come; also where the clock was set back since, which would make the time left longer than it ever was. */
function isOver({ at, until }: Park, now: Instant): boolean {
  return until <= now || secondsBetween(now, until) > secondsBetween(at, until) + minute;
}

function isQuiet(providers: Providers | undefined, at: Instant): boolean {
  return providers?.quietHours !== undefined && endOfHours(providers.quietHours, at) !== undefined;
}

/** When a parked account is tried next, as it looks at `now`; undefined when only a person can tell. */
export function opensAt({ parks, manual, quietHours }: Providers, account: string, now: Instant): Instant | undefined {
  const until = parks.get(account)?.until;
  if (manual || until === undefined || quietHours === undefined) return manual ? undefined : until;
  const earliest = until > now ? until : now;
  return endOfHours(quietHours, earliest) ?? until;
}

/** What is to be said of an account with a park, e.g. `Agent claude is parked until 2026-…: usage limit (You've hit …)`. */
export function parkText(providers: Providers, account: string, now: Instant): string {
  const park = providers.parks.get(account);
  if (!park) return `${nameOf(providers, account)} works.`;
  const places = placesOf(providers, account, now) ?? 0;
  const until = opensAt(providers, account, now) ?? "somebody resumes it";
  const state = places === 0 ? `is parked until ${until}` : `is being tried out with ${places} at a time`;
  return `${nameOf(providers, account)} ${state}: ${park.category.replaceAll("_", " ")} (${park.reason})`;
}

function nameOf({ accounts }: Providers, account: string): string {
  const agents = [...accounts].flatMap(([agent, its]) => (its === account ? [agent] : []));
  return agents.length === 1 && agents[0] === account ? `Agent ${account}` : `Account ${account} (${agents.join(", ")})`;
}
