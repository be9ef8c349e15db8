import { createRedactor, secretValues } from "../lib/redact.ts";

/** How far around the place a line is looked at, and how much of it is shown on either side, in characters. */
const reach = 1000;
const shown = 60;

/**
 * The line around `offset` with a caret below it, harmless on a terminal and cut to fit one. Nothing for a blank line,
 * and for one that may hold a secret: findings are logged, too.
 */
export function quoteAt(text: string, offset: number): { quote?: string } {
  const before =
    text
      .slice(Math.max(0, offset - reach), offset)
      .split(/[\r\n]/)
      .at(-1) ?? "";
  const after = text.slice(offset, offset + reach).split(/[\r\n]/)[0] ?? "";
  const line = before + after;
  if (line.trim() === "" || holdsSecret(line)) return {};
  const left = cut([...before].map(visible).toReversed())
    .toReversed()
    .join("");
  const right = cut([...after].map(visible)).join("");
  return { quote: `${left}${right}\n${" ".repeat([...left].length)}^` };
}

/** As many of the characters as are shown; the last one tells that there were more. */
function cut(characters: string[]): string[] {
  let width = 0;
  const end = characters.findIndex((character) => {
    width += character.length;
    return width > shown;
  });
  return end < 0 ? characters : [...characters.slice(0, end), "…"];
}

/** A character as it is, or by its number where a terminal would not show it, or obey it. */
function visible(character: string): string {
  if (character === "\t") return "\\t";
  if (!/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u.test(character)) return character;
  return `\\u{${character.codePointAt(0)?.toString(16)}}`;
}

function holdsSecret(line: string): boolean {
  if (createRedactor([])(line) !== line) return true;
  return [...line.matchAll(/(?<![\w-])([\w-]+)["']?\s*[:=]\s*["']?([^\s"',}]+)/g)].some(
    ([, name = "", value = ""]) => !value.startsWith("${") && secretValues({ [name]: value }).length > 0,
  );
}
