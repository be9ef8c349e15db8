import { Verdict } from "../domain/session.ts";

export type VerdictFormat = "json" | "passfail" | "steps";

/** What a final message concludes; `missing` says for people and for the agent what it should have held. */
export type ParsedVerdict = { verdict: Verdict } | { missing: string } | { none: true };

type Finding = Verdict["findings"][number];

const verdictWords: Record<string, Verdict["verdict"]> = {
  pass: "pass",
  passed: "pass",
  approve: "pass",
  approved: "pass",
  met: "pass",
  pass_with_comments: "pass_with_comments",
  passed_with_comments: "pass_with_comments",
  approved_with_comments: "pass_with_comments",
  fail: "fail",
  failed: "fail",
  reject: "fail",
  rejected: "fail",
  changes_requested: "fail",
  partial: "fail",
  missed: "fail",
  deviated: "fail",
};

const severityWords: Record<string, Finding["severity"]> = {
  blocking: "blocking",
  blocker: "blocking",
  critical: "blocking",
  high: "blocking",
  important: "important",
  major: "important",
  medium: "important",
  warning: "important",
  suggestion: "suggestion",
  minor: "suggestion",
  low: "suggestion",
  nit: "suggestion",
  info: "suggestion",
  praise: "praise",
};

/**
 * Reads the verdict out of an agent's final message; never to be given prompts or tool output. With a format the message must
 * hold one in that form. Without, only what can mean nothing else counts: a JSON object that has a verdict, a line that is
 * PASS or FAIL and nothing more, or a first line that begins with FAIL.
 */
export function parseVerdict(finalText: string, format: VerdictFormat | undefined): ParsedVerdict {
  switch (format) {
    case "json":
      return parseJson(finalText);
    case "passfail":
      return parsePassFail(finalText);
    case "steps":
      return parseSteps(finalText);
    case undefined:
      return parseUnasked(finalText);
  }
}

function parseJson(text: string): ParsedVerdict {
  const found = [...jsonObjects(text), ...trailingObject(text)].findLast(
    (value) => "verdict" in value || typeof value.passed === "boolean",
  );
  if (!found) return { missing: 'the final message holds no JSON object with a "verdict" of "pass", "pass_with_comments" or "fail"' };
  const verdict = fromJson(found);
  return verdict ? { verdict } : { missing: `"verdict" must be "pass", "pass_with_comments" or "fail", not ${short(found.verdict)}` };
}

function parsePassFail(text: string): ParsedVerdict {
  const lines = text.split("\n");
  const first = lines.findIndex((line) => line.trim() !== "");
  const last = lines.findLastIndex((line) => line.trim() !== "");
  const atFirst = passFail(lines[first]);
  const atLast = passFail(lines[last]);
  if (!atFirst && !atLast) return { missing: "neither the first nor the last line of the final message begins with PASS or FAIL" };
  if (atFirst && atLast && atFirst.pass !== atLast.pass) {
    return { missing: "the first and the last line of the final message contradict each other about PASS and FAIL" };
  }
  const rest = atFirst ? lines.slice(first + 1) : lines.slice(0, last);
  return { verdict: plainVerdict((atFirst ?? atLast)?.pass === true, (atFirst ?? atLast)?.note ?? "", rest) };
}

function parseSteps(text: string): ParsedVerdict {
  const steps = new Map<number, Verdict["steps"][number]>();
  for (const line of text.split("\n")) {
    const match = /^[\s>*_`#-]*STEP\s+(\d{1,4})[*_`]*\s*[:—–-]\s*[*_`]*(PASS|FAIL)(?:ED)?\b[*_`]*(.*)$/i.exec(line);
    if (match)
      steps.set(Number(match[1]), { step: Number(match[1]), pass: match[2]?.toUpperCase() === "PASS", note: noteOf(match[3] ?? "") });
  }
  if (steps.size === 0) return { missing: "the final message holds no line of the form `STEP <n>: PASS` or `STEP <n>: FAIL <why>`" };
  const list = [...steps.values()].sort((a, b) => a.step - b.step);
  const failed = list.filter((step) => !step.pass);
  const overall = parsePassFail(text);
  const findings = failed.map(
    (step): Finding => ({ severity: "blocking", message: step.note || `step ${step.step} failed`, step: step.step }),
  );
  const fails = failed.length > 0 || ("verdict" in overall && overall.verdict.verdict === "fail");
  const summary = `${list.length - failed.length} of ${list.length} steps passed`;
  return { verdict: agreeing({ verdict: fails ? "fail" : "pass", summary, findings, steps: list, unverified: [] }) };
}

function parseUnasked(text: string): ParsedVerdict {
  const verdict = jsonObjects(text)
    .filter((value) => typeof value.verdict === "string")
    .map(fromJson)
    .findLast((parsed) => parsed !== undefined);
  if (verdict) return { verdict };
  const lines = outsideFences(text);
  const first = lines.findIndex((line) => line.trim() !== "");
  const opening = passFail(lines[first]);
  if (opening && !opening.pass && opening.word === "FAIL") return { verdict: plainVerdict(false, opening.note, lines.slice(first + 1)) };
  const bare = lines.map((line) => /^[\s#>*_`]*(PASS|FAIL)[\s*_`.!]*$/.exec(line)?.[1]);
  const said = bare.includes("FAIL") ? "FAIL" : "PASS";
  if (!bare.includes(said) || (said === "FAIL" && bare.includes("PASS"))) return { none: true };
  return { verdict: plainVerdict(said === "PASS", "", lines.slice(bare.indexOf(said) + 1)) };
}

/** The JSON objects that the text as a whole or one of its fenced blocks is. */
function jsonObjects(text: string): Record<string, unknown>[] {
  const whole = toObject(text);
  if (whole) return [whole];
  const found: Record<string, unknown>[] = [];
  let block: string[] | undefined;
  for (const line of text.split("\n")) {
    if (/^\s*(```|~~~)/.test(line)) {
      const value = block ? toObject(block.join("\n")) : undefined;
      if (value) found.push(value);
      block = block ? undefined : [];
    } else block?.push(line);
  }
  return found;
}

/** An object that begins at the start of a line and ends with the text. */
function trailingObject(text: string): Record<string, unknown>[] {
  const trimmed = text.trimEnd();
  if (!trimmed.endsWith("}")) return [];
  let start = trimmed.length;
  for (let tries = 0; tries < 100; tries++) {
    start = trimmed.lastIndexOf("{", start - 1);
    if (start === -1) return [];
    if (start > 0 && trimmed[start - 1] !== "\n") continue;
    const value = toObject(trimmed.slice(start));
    if (value) return [value];
  }
  return [];
}

function toObject(text: string): Record<string, unknown> | undefined {
  const trimmed = text.trim();
  if (!trimmed.startsWith("{") || !trimmed.endsWith("}")) return undefined;
  try {
    const value: unknown = JSON.parse(trimmed);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** A verdict in any of the spellings that prompts use; undefined when it says neither pass nor fail. */
function fromJson(value: Record<string, unknown>): Verdict | undefined {
  const word = value.verdict ?? (typeof value.passed === "boolean" ? (value.passed ? "pass" : "fail") : undefined);
  const verdict = typeof word === "string" ? own(verdictWords, wordOf(word)) : undefined;
  if (!verdict) return undefined;
  const listed = Array.isArray(value.findings) ? value.findings : Array.isArray(value.issues) ? value.issues : [];
  const parsed = Verdict.safeParse({
    verdict,
    summary: typeof value.summary === "string" ? value.summary : "",
    findings: listed.flatMap(toFinding),
    steps: (Array.isArray(value.steps) ? value.steps : []).flatMap(toStep),
    unverified: (Array.isArray(value.unverified) ? value.unverified : []).filter((item) => typeof item === "string"),
  });
  return parsed.success ? agreeing(parsed.data) : undefined;
}

function toFinding(value: unknown): Finding[] {
  if (typeof value === "string") return value.trim() === "" ? [] : [{ severity: "important", message: value }];
  if (typeof value !== "object" || value === null) return [];
  const item = value as Record<string, unknown>;
  const message = [item.message, item.description, item.title].find((text) => typeof text === "string" && text.trim() !== "");
  const severity = typeof item.severity === "string" ? own(severityWords, wordOf(item.severity)) : undefined;
  return [
    {
      severity: severity ?? "important",
      // A finding that says nothing still counts with its weight.
      message: typeof message === "string" ? message : short(value),
      ...(typeof item.file === "string" && item.file !== "" ? { file: item.file } : {}),
      ...numberField("line", item.line),
      ...numberField("step", item.step),
    },
  ];
}

function toStep(value: unknown): Verdict["steps"] {
  if (typeof value !== "object" || value === null) return [];
  const item = value as Record<string, unknown>;
  const step = numberField("step", item.step ?? item.n).step;
  const pass = [item.pass, item.passed, item.verdict, item.status, item.result].map(passes).find((said) => said !== undefined);
  return step === undefined || pass === undefined ? [] : [{ step, pass, note: typeof item.note === "string" ? item.note : "" }];
}

/** What a field of a step says about it: a boolean, or a word that is one of the verdicts. */
function passes(value: unknown): boolean | undefined {
  if (typeof value === "boolean") return value;
  const verdict = typeof value === "string" ? own(verdictWords, wordOf(value)) : undefined;
  return verdict === undefined ? undefined : verdict !== "fail";
}

/** Says pass only where no finding blocks and no step failed. */
function agreeing(verdict: Verdict): Verdict {
  const contradicted = verdict.findings.some((finding) => finding.severity === "blocking") || verdict.steps.some((step) => !step.pass);
  return contradicted ? { ...verdict, verdict: "fail" } : verdict;
}

/** PASS or FAIL at the beginning of a line, decorated or not; undefined for "PASS or FAIL", "PASSWORD" and "Pass". */
function passFail(line: string | undefined): { pass: boolean; word: string; note: string } | undefined {
  const match = /^[\s#>*_`-]*(?:(?:[Vv]erdict|VERDICT)[\s:*_`]*)?(PASS(?:ED)?|FAIL(?:ED)?)\b(?!\s*(?:\/|\||or\b))(.*)$/.exec(line ?? "");
  const word = match?.[1];
  return word === undefined ? undefined : { pass: word.startsWith("PASS"), word, note: noteOf(match?.[2] ?? "") };
}

function noteOf(rest: string): string {
  return rest.replace(/^[\s*_`:.!—–-]+/, "").trim();
}

/** The verdict of a line, with the list that goes with a FAIL as its findings. */
function plainVerdict(pass: boolean, note: string, rest: string[]): Verdict {
  const findings = pass ? [] : issues(note, rest);
  return { verdict: pass ? "pass" : "fail", summary: note.slice(0, 2000), findings, steps: [], unverified: [] };
}

function issues(note: string, rest: string[]): Finding[] {
  const items = rest.map((line) => /^\s*(?:[-*•]|\d{1,3}[.)])\s+(.+)$/.exec(line)?.[1]?.trim()).filter((item) => item !== undefined);
  const text = [note, ...rest].join("\n").trim().slice(0, 4000);
  const messages = items.length > 0 ? items : text === "" ? [] : [text];
  return messages.slice(0, 100).map((message) => ({ severity: "blocking", message, ...place(message) }));
}

/** `src/a.ts:12` in a message. */
function place(message: string): { file?: string; line?: number } {
  const match = /(?:^|[\s(`])([\w@./-]{1,200}\.\w{1,8}):(\d{1,7})\b/.exec(message.slice(0, 1000));
  return match?.[1] === undefined ? {} : { file: match[1], line: Number(match[2]) };
}

function outsideFences(text: string): string[] {
  let inside = false;
  return text.split("\n").filter((line) => {
    if (!/^\s*(```|~~~)/.test(line)) return !inside;
    inside = !inside;
    return false;
  });
}

function wordOf(text: string): string {
  return text
    .trim()
    .toLowerCase()
    .replace(/[\s-]+/g, "_");
}

function own<T>(words: Record<string, T>, word: string): T | undefined {
  return Object.hasOwn(words, word) ? words[word] : undefined;
}

function numberField<K extends string>(key: K, value: unknown): { [P in K]?: number } {
  const n = typeof value === "string" && /^\d{1,9}$/.test(value) ? Number(value) : value;
  return (typeof n === "number" && Number.isFinite(n) ? { [key]: n } : {}) as { [P in K]?: number };
}

function short(value: unknown): string {
  return (JSON.stringify(value) ?? "nothing").slice(0, 200);
}
