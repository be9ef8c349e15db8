import { stripVTControlCharacters } from "node:util";

/** Text that a model, a repository or a tracker wrote, without what a terminal would obey; line breaks and tabs stay. */
export function printable(text: string): string {
  return stripVTControlCharacters(text).replace(/[\p{Cc}\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, (char) =>
    char === "\n" || char === "\t" ? char : "",
  );
}
