import { expect, it } from "vitest";
import { takeTurn } from "./turns.ts";

it("takes everything in turn, each once, also when there is less than asked for or items go", () => {
  const turn = { next: 0 };
  const take = (items: string, count: number) => takeTurn([...items], count, turn).join("");
  expect([take("abcde", 2), take("abcde", 2), take("abcde", 2), take("abcde", 9)]).toEqual(["ab", "cd", "ea", "bcdea"]);
  expect([take("abc", 2), take("", 2), take("abc", 0), take("abc", 1)]).toEqual(["ab", "", "", "a"]);
});
