import { UserError } from "../domain/errors.ts";
import { type Instant, instant, toInstant } from "../domain/time.ts";

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** The seconds of `90s`, `10m`, `2h` or `3d`. Throws a UserError (usage) that names the option. */
export function secondsOf(text: string, option: string): number {
  const [, count = "", unit = ""] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const seconds = Number(count) * (units[unit] ?? 0);
  if (count !== "") return seconds;
  throw new UserError(`${option} does not understand ${JSON.stringify(text)}.`, { hint: "write 90s, 10m, 2h or 3d", exit: "usage" });
}

/** The time that `90s`, `10m`, `2h` or `3d` before `now` (epoch milliseconds) means, or a date. Throws a UserError (usage). */
export function sinceOf(text: string, now: number): Instant {
  const ago = /^(\d+)([smhd])$/.exec(text);
  if (ago) {
    const unit = { s: 1, m: 60, h: 3600, d: 86_400 }[ago[2] ?? "s"] ?? 1;
    return instant(now - Number(ago[1]) * unit * 1000);
  }
  const at = toInstant(text);
  if (at !== undefined) return at;
  throw new UserError(`--since does not understand ${JSON.stringify(text)}.`, {
    hint: "write 90s, 10m, 2h, 3d, or a date such as 2026-01-31T12:00:00Z",
    exit: "usage",
  });
}
