/**
 * Points in time travel as RFC 3339 strings in UTC with milliseconds ("2026-11-21T12:00:00.000Z"):
 * people read them in the JSON, and two of them compare as plain strings.
 * Nothing here reads a clock.
 */
export type Instant = string;

/** The longest time any setting may name: Node's timers overflow beyond 2^31 ms, and nobody waits longer for a phase. */
export const maxSeconds = 30 * 24 * 3600;

/** The instant of a number of milliseconds since the epoch. */
export function instant(epochMs: number): Instant {
  return new Date(epochMs).toISOString();
}

/** Milliseconds since the epoch of an instant. */
export function epochMs(at: Instant): number {
  return Date.parse(at);
}

/** The instant `seconds` (fractions allowed) after `at`. */
export function plusSeconds(at: Instant, seconds: number): Instant {
  return instant(epochMs(at) + Math.round(seconds * 1000));
}

/** Seconds from `from` to `to`; negative when `to` lies before. */
export function secondsBetween(from: Instant, to: Instant): number {
  return (epochMs(to) - epochMs(from)) / 1000;
}

/** Hours of the day, e.g. "22:00-07:00", by the clock of the machine; the end may lie on the next day. */
export type DayHours = string;

/** The form of DayHours: two different times of the day. */
export const dayHoursPattern = /^((?:[01]\d|2[0-3]):[0-5]\d)-(?!\1)(?:[01]\d|2[0-3]):[0-5]\d$/;

/** When the hours that `at` lies in are over; undefined when it lies in none. A change to summer time moves the end with the clock. */
export function endOfHours(hours: DayHours, at: Instant): Instant | undefined {
  const [from = 0, to = 0] = hours.split("-").map(minuteOfDay);
  const local = new Date(epochMs(at));
  const minute = local.getHours() * 60 + local.getMinutes();
  if (from < to ? minute < from || minute >= to : minute < from && minute >= to) return undefined;
  const isTomorrow = from > to && minute >= from;
  const end = new Date(local.getFullYear(), local.getMonth(), local.getDate() + (isTomorrow ? 1 : 0), 0, to);
  return instant(end.getTime());
}

function minuteOfDay(time: string): number {
  const [hours = 0, minutes = 0] = time.split(":").map(Number);
  return hours * 60 + minutes;
}

/** Brings any parseable date string into the form above; undefined when it is none. */
export function toInstant(text: string): Instant | undefined {
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : instant(ms);
}
