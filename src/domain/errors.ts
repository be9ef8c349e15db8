/** Exit codes of the command line. Stable: scripts of users depend on them (docs/cli.md lists them). */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  conflict: 4,
  unsafe: 5,
  limit: 6,
  needsAttention: 7,
  invalid: 8,
  bug: 70,
  tryLater: 75,
  interrupted: 130,
  terminated: 143,
} as const;

export type ExitCode = keyof typeof exitCodes;

/**
 * A mistake or a circumstance that a person can change. Its message says what and where, its hint how to fix it.
 * Everything else that is thrown is a bug of ours, keeps its stack and exits with 70.
 */
export class UserError extends Error {
  readonly hint: string | undefined;
  readonly exit: ExitCode;
  constructor(message: string, options: { hint?: string | undefined; exit?: ExitCode; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = "UserError";
    this.hint = options.hint;
    this.exit = options.exit ?? "failed";
  }
}

/** One thing wrong with a file that a person wrote. Line and column count from 1. */
export interface Finding {
  severity: "error" | "warning";
  /** Stable name of the rule, e.g. "dangling-edge". */
  rule: string;
  file: string;
  line?: number;
  column?: number;
  /** Path of the field inside the file, e.g. "phases[2].onSuccess". */
  field?: string;
  message: string;
  fix?: string;
  /** The line of the file with a caret below the place, as two lines that are harmless on a terminal. */
  quote?: string;
}

/** A finding of a pure rule, which knows neither file nor line: whoever read the file joins them from the paths. */
export interface Problem {
  severity: "error" | "warning";
  rule: string;
  path: (string | number)[];
  message: string;
  fix?: string;
  /** A second place that the problem is about, e.g. where the same id is used first. */
  other?: (string | number)[];
}

/** `file:line:col  field: message — fix: …` in one line, as every command prints it. */
export function formatFinding(f: Finding): string {
  const place = [f.file, f.line, f.column].filter((part) => part !== undefined).join(":");
  const field = f.field ? `${f.field}: ` : "";
  const fix = f.fix ? ` — fix: ${f.fix}` : "";
  return `${place}  ${field}${f.message}${fix} [${f.rule}]`;
}

/** As `formatFinding`, with the quoted line below it, where there is one. */
export function formatFindingInFull(f: Finding): string {
  return [formatFinding(f), ...(f.quote?.split("\n") ?? []).map((line) => `    ${line}`)].join("\n");
}

/** The known name nearest to a mistyped one, if it is near enough to be meant. */
export function didYouMean(name: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** ` (did you mean "x"?)`, or nothing when no known name is near. */
export function suggestion(name: string, known: Iterable<string>): string {
  const near = didYouMean(name, known);
  return near === undefined ? "" : ` (did you mean "${near}"?)`;
}

/** Damerau-Levenshtein distance (optimal string alignment): swapping two neighbours counts as one edit. */
function editDistance(a: string, b: string): number {
  const width = b.length + 1;
  const d = new Array<number>((a.length + 1) * width).fill(0);
  const at = (i: number, j: number) => d[i * width + j] ?? 0;
  for (let i = 0; i <= a.length; i++) d[i * width] = i;
  for (let j = 0; j <= b.length; j++) d[j] = j;
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, at(i - 2, j - 2) + 1);
      d[i * width + j] = best;
    }
  }
  return at(a.length, b.length);
}
