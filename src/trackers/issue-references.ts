const reference = String.raw`(?:https?:\/\/[\w.-]+\/[\w.-]+\/[\w.-]+\/issues\/\d{1,9}\b|(?:[\w.-]+\/[\w.-]+)?#\d{1,9}\b)`;
const between = String.raw`(?:\s*(?:,|;|&|\band\b)\s*|\s*\n\s*[-*+]\s+(?:\[[ xX]\]\s+)?)`;
const phrase = new RegExp(
  String.raw`(?<!\bnot\s+)\b(?:depends\s+on|blocked\s+by)\b[*_:\s]*(?:[-*+]\s+(?:\[[ xX]\]\s+)?)?(${reference}(?:${between}${reference})*)`,
  "gi",
);

/**
 * The issues that have to be done first by the words of a text: "Depends on #12, #13", "Blocked by owner/repo#5", also as a list
 * below the phrase. As `owner/repo#12`, each once; `home` is the repository of a bare number. Code and comments say nothing.
 */
export function issuesBefore(text: string, home: string): string[] {
  const prose = text.replace(/<!--[\s\S]*?(?:-->|$)|^(```|~~~)[\s\S]*?(?:^\1|(?![\s\S]))|`[^`\n]*`/gm, " ");
  const found = [...prose.matchAll(phrase)].flatMap(([, list]) => list?.match(new RegExp(reference, "g")) ?? []);
  return [...new Set(found.map((written) => fullName(written, home)))];
}

function fullName(written: string, home: string): string {
  const [, repo, number] = /([\w.-]+\/[\w.-]+)(?:#|\/issues\/)(\d+)$/.exec(written) ?? [];
  return repo && number ? `${repo}#${Number(number)}` : `${home}${written}`;
}
