import { expect, it } from "vitest";
import { quoteAt } from "./quote.ts";

const at = (text: string, place: string) => quoteAt(text, text.indexOf(place)).quote;

it("quotes the line of a place, whatever ends it, with a caret below the place", () => {
  expect(at("one: 1\r\n  two: x\r\nthree: 3", "x")).toBe("  two: x\n       ^");
  expect(at("only", "only")).toBe("only\n^");
  expect(quoteAt("x: [\n", 5)).toEqual({});
});

it("shows what a terminal would hide or obey", () => {
  expect(at("\ta\u001b[31m\u202e😀: !", "!")).toBe(
    `\\ta\\u{1b}[31m\\u{202e}😀: !\n${" ".repeat([..."\\ta\\u{1b}[31m\\u{202e}😀: "].length)}^`,
  );
});

it("cuts a long line on both sides of the place", () => {
  expect(at(`${"a".repeat(5000)}!${"b".repeat(5000)}`, "!")).toBe(`…${"a".repeat(60)}!${"b".repeat(59)}…\n${" ".repeat(61)}^`);
});

it.each([
  ["a token", "x: ghp_abcdefghijklmnopqrstuvwxyz012345 !"],
  ["a value of a secret's name", "env: { DB_PASSWORD: 'hunter2hunter2', x: ! }"],
])("does not quote %s", (_, line) => {
  expect(at(line, "!")).toBeUndefined();
});

it("quotes references to secrets", () => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: that is how a configuration refers to one
  expect(at('env: { DB_PASSWORD: "${DB_PASSWORD}", x: ! }', "!")).toContain("^");
});
