import { describe, expect, it } from "vitest";
import { blockerLines, blockersInTitle, splitTitle } from "./references.ts";

const found = (body: string) => blockerLines(body).map(({ references, words }) => words ?? references.join(" "));

describe("what a text names as done first", () => {
  it.each<[text: string, expected: string[]]>([
    ["", []],
    ["See #4, fixes #5", []],
    ["Depends on #12", ["#12"]],
    ["depends on #12, #13 and #014; blocked by #12", ["#12 #13 #14", "#12"]],
    ["**Blocked by:** other/repo#5 & #6", ["other/repo#5 #6"]],
    ["Blocked by https://github.com/acme/gears/issues/7.", ["acme/gears#7"]],
    ["blocked by https://github.com/acme/gears/issues/7#issuecomment-1, #8", ["acme/gears#7 #8"]],
    ["Part of #3. It is blocked by #4, so it waits.", ["#4"]],
    ["We do this later (depends on ENG-4) or (after the login)", ["ENG-4"]],
    ["### Blocked by #3", ["#3"]],
    ["## Depends on\n\n- #1\n- [ ] #2\n* [x] other/repo#3\n\n- see #4 too", ["#1", "#2", "other/repo#3", "see #4 too"]],
    ["## Dependencies\n\n#1, #2\n\nSome words.", ["#1 #2"]],
    ["Depends on:\n\n- #1\n- the login\n\nSteps:\n- open it", ["#1", "the login"]],
    ["- **Blocked by:**\n  - [ ] #3\n  - ENG-4\n- other work", ["#3", "ENG-4"]],
    ["**Dependencies**\n1. ENG-1: the table", ["ENG-1"]],
    ["- Blocked by:\n- other work", []],
    ["Blocked by #3\n- #4", ["#3"]],
    ["Depends on the weather, as #9 says", ["the weather, as #9 says"]],
    ["It is not blocked by #3. It isn't blocked by #4, nor was it blocked by #5; it no longer depends on #6.", []],
    ["<!-- Depends on #1 -->\n`depends on #2` <!-- depends on #5 -->\n```\nDepends on #3\n```\nDepends on #4", ["#4"]],
    ["<!-- never closed: depends on #1", []],
    ["Requires UTF-8 and Node 24\nNeeds a person\nAfter lunch", ["UTF-8"]],
    ["Depends on #99999999999", ["#99999999999"]],
  ])("%j", (text, expected) => {
    expect(found(text)).toEqual(expected);
    expect(found(text.replaceAll("\n", "\r\n"))).toEqual(expected);
  });

  it.each<[title: string, expected: string[], left: string]>([
    ["Pay by card", [], "Pay by card"],
    ["Pay by card (after the login)", ["the login"], "Pay by card"],
    ["Pay by card [blocked by SHOP-7, #3] today", ["SHOP-7 #3"], "Pay by card today"],
    ["Pay (soon) by card, depends on #3", ["#3"], "Pay (soon) by card, depends on #3"],
    ["Pay by card (needs love)", [], "Pay by card (needs love)"],
    ["Pay by card (needs ENG-1) (after)", ["ENG-1"], "Pay by card (after)"],
    ["(after the login)", ["the login"], "(after the login)"],
    ["SHOP-7 (after SHOP-6): pay", ["SHOP-6"], "SHOP-7: pay"],
    ["Look after the login", [], "Look after the login"],
  ])("in the title %j", (title, expected, left) => {
    expect(blockersInTitle(title).map(({ references, words }) => words ?? references.join(" "))).toEqual(expected);
    expect(splitTitle(title).title).toBe(left);
  });

  it("is found in long and hostile texts without delay", () => {
    const hostile = [
      "depends on ".repeat(5_000),
      `depends on ${"#1, ".repeat(5_000)}`,
      "```\n".repeat(5_001),
      "blocked by\n- ".repeat(5_000),
      "blocked by\n".repeat(5_000),
      "(after (".repeat(5_000),
      `(after ${"x".repeat(100_000)}\n`,
    ];
    const before = process.cpuUsage();
    for (const text of hostile) blockerLines(text);
    for (const text of hostile) splitTitle(text);
    expect(process.cpuUsage(before).user).toBeLessThan(2_000_000);
  });
});
