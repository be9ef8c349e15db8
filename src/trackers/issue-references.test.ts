import { describe, expect, it } from "vitest";
import { issuesBefore } from "./issue-references.ts";

const cases: [text: string, expected: string[]][] = [
  ["", []],
  ["See #4, fixes #5", []],
  ["Depends on #12", ["acme/widgets#12"]],
  ["depends on #12, #13 and #14; blocked by #12", ["acme/widgets#12", "acme/widgets#13", "acme/widgets#14"]],
  ["**Blocked by:** other/repo#5 & #6", ["other/repo#5", "acme/widgets#6"]],
  ["Blocked by https://github.com/acme/gears/issues/7.", ["acme/gears#7"]],
  ["## Depends on\n\n- #1\n- [ ] #2\n* [x] other/repo#3\n\n- see #4 too", ["acme/widgets#1", "acme/widgets#2", "other/repo#3"]],
  ["- [ ] Blocked by #3\n- [ ] #4", ["acme/widgets#3", "acme/widgets#4"]],
  ["Depends on the weather, as #9 says", []],
  ["It is not blocked by #3", []],
  ["<!-- Depends on #1 -->\n`depends on #2`\n```\nDepends on #3\n```\nDepends on #4", ["acme/widgets#4"]],
  ["<!-- never closed: depends on #1", []],
  ["Depends on #99999999999", []],
];

describe("issues that a text names as done first", () => {
  it.each(cases)("%j", (text, expected) => {
    expect(issuesBefore(text, "acme/widgets")).toEqual(expected);
  });

  it("are found in long and hostile texts without delay", () => {
    const hostile = [
      "depends on ".repeat(20_000),
      `depends on ${"#1, ".repeat(20_000)}`,
      "```\n".repeat(20_001),
      "blocked by\n- ".repeat(20_000),
    ];
    const started = performance.now();
    for (const text of hostile) issuesBefore(text, "acme/widgets");
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});
