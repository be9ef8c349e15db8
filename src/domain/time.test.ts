import { describe, expect, it } from "vitest";
import { dayHoursPattern, endOfHours } from "./time.ts";

/** A time of 21 November 2026, or of the day before or after it, by the clock of this machine. */
function at(hours: number, minutes = 0, day = 21): string {
  return new Date(2026, 10, day, hours, minutes).toISOString();
}

describe("endOfHours", () => {
  it.each([
    ["22:00-07:00", at(21, 59), undefined],
    ["22:00-07:00", at(22), at(7, 0, 22)],
    ["22:00-07:00", at(0), at(7)],
    ["22:00-07:00", at(6, 59), at(7)],
    ["22:00-07:00", at(7), undefined],
    ["09:30-17:15", at(9, 29), undefined],
    ["09:30-17:15", at(9, 30), at(17, 15)],
    ["09:30-17:15", at(17, 15), undefined],
    ["23:30-00:00", at(23, 45), at(0, 0, 22)],
  ])("%s at %s: %s", (hours, now, end) => {
    expect(endOfHours(hours, now)).toBe(end);
  });

  it("knows what hours of the day are", () => {
    const texts = ["22:00-07:00", "00:00-23:59", "22:00-22:00", "24:00-07:00", "7:00-8:00", "22:00", "22:60-07:00", "22:00-07:00x"];
    expect(texts.filter((text) => dayHoursPattern.test(text))).toEqual(["22:00-07:00", "00:00-23:59"]);
  });
});
