import { UserError } from "../domain/errors.ts";

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** The seconds of `90s`, `10m`, `2h` or `3d`. Throws a UserError (usage) that names the option. */
export function secondsOf(text: string, option: string): number {
  const [, count = "", unit = ""] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const seconds = Number(count) * (units[unit] ?? 0);
  if (count !== "") return seconds;
  throw new UserError(`${option} does not understand ${JSON.stringify(text)}.`, { hint: "write 90s, 10m, 2h or 3d", exit: "usage" });
}
