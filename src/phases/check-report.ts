/** checks.json: what the checks of a phase said, against what they said before the change. No schema library: checks-runner reads it too. */
export interface CheckReport {
  schema: 1;
  checks: CheckResult[];
  /** Names of the checks that fail now and were not seen to fail before. */
  newFailures: string[];
}

export interface CheckResult {
  name: string;
  command: string[];
  exitCode: number | null;
  signal: string | null;
  durationMs: number;
  /** The last 4 KiB of its output. */
  tail: string;
  /** The same check on the commit the work started from; null when it was not needed. */
  before: { exitCode: number | null; sha: string } | null;
}

/** What a run of checks needs to know; travels as `data` of spec.json. */
export interface CheckOrder {
  commands: { name: string; argv: string[] }[];
  /**
   * Where the checks of the commit before the change are run, with the installed dependencies of which worktree, and where
   * their results are kept; null: every failure is new.
   */
  baseline: { repo: string; sha: string; worktree: string; lockDir: string; cacheDir: string; dependenciesOf: string } | null;
}

/** Whether a check says nothing about the code: the shell did not find or could not start it, or it was killed. */
export function couldNotRun({ exitCode }: { exitCode: number | null }): boolean {
  return exitCode === null || exitCode === 126 || exitCode === 127;
}
