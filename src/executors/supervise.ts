import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { ExitRecord, RunEnd, RunSpec } from "../domain/run.ts";
import { createRedactor, secretValues } from "../lib/redact.ts";
import { type AgentStream, openAgentStream } from "./agent-stream.ts";
import { openFollowedFile } from "./followed-file.ts";
import { createOutput, type Output } from "./output.ts";
import { closeWriteEnds, type Fifos, openPipes, type Pipe } from "./pipes.ts";
import { readStat } from "./process-identity.ts";
import { killTree, type TreeMark } from "./process-tree.ts";
import { markVariable, namedIn, runVariables } from "./run-environment.ts";
import { isStopRequested, runFiles, stopReason } from "./run-files.ts";
import { spawnProblem, startProblem } from "./start-problem.ts";
import { startWatchdog } from "./watchdog.ts";

/** What exit.json says of a run besides when it was. */
export type Outcome = Omit<ExitRecord, "schema" | "runId" | "startedAt" | "endedAt" | "durationMs">;

/** More output than this is a program gone wild. */
const maxOutputBytes = 1024 ** 3;
/** How long a pipe may stay open after the leader's end: time for a last `tee`, not for a server. */
const quietMs = 500;
/** How long an agent that has used up its budget may take to show that it is done. */
const budgetMs = 100;
/** How long an agent may take to its first word, however short its limit of silence is: on a busy machine CLIs start slowly. */
const startMs = 600_000;

interface Ending {
  end: RunEnd;
  exitCode: number | null;
  signal: string | null;
  message: string | null;
}

interface Outputs {
  stdout: Output;
  stderr: Output;
  agent: AgentStream | null;
}

interface Program {
  child: ChildProcess;
  exit: Promise<{ code: number | null; signal: string | null }>;
  /** Every process that could write to the pipes is gone, or has closed them. */
  closed: Promise<unknown>;
  /** Reads what is left and lets go of all descriptors. */
  release(): void;
}

/**
 * Runs the program of `spec` from its start to the end of its last process, and says how that went. `runDir` is the real
 * path of the run's folder, `given` the variables among which it names those of the program. Once `stopRequest` is fulfilled,
 * the run is stopped.
 */
export async function supervise(
  spec: RunSpec,
  runDir: string,
  given: Readonly<Record<string, string>>,
  fifos: Fifos,
  stopRequest: Promise<void>,
): Promise<Outcome> {
  if (isStopRequested(runDir)) return notStarted("stopped", "stopped before it started");
  const problem = startProblem(spec);
  if (problem !== null) return notStarted("spawn_failed", problem);

  const env = { ...namedIn(given, spec.envNames), ...runVariables(spec, runDir) };
  const tree: TreeMark = { variable: markVariable(runDir), leader: null, adopter: Number(process.env.ORCH_ADOPTER) };
  let progress = () => {};
  let ending: Pick<Ending, "end" | "message"> = { end: "exited", message: null };
  let beginStop = () => {};
  const endAs = (end: RunEnd, message: string | null) => {
    if (ending.end !== "exited") return;
    ending = { end, message };
    beginStop();
  };

  let settleTimer: NodeJS.Timeout | undefined;
  let budgetTimer: NodeJS.Timeout | undefined;
  const hidden = namedIn(given, spec.hiddenNames ?? []);
  const outputs = await openOutputs(spec, runDir, { ...env, ...hidden }, (agent, line, isCut) => {
    // What it says while it is being ended is not what it came to.
    if (ending.end === "result") return;
    if (agent.line(line, isCut)) progress();
    const loop = spec.endLoops ? agent.loop() : null;
    if (loop !== null) endAs("stuck", loop);
    clearTimeout(settleTimer);
    const overLimit = agent.overLimit();
    if (overLimit !== null) {
      // What it has said already may hold its result, and then there is nothing to save.
      budgetTimer ??= setTimeout(() => {
        budgetTimer = undefined;
        if (!agent.isDone()) endAs("budget", overLimit);
      }, budgetMs);
    }
    if (spec.settleMs === undefined || !agent.isDone()) return;
    settleTimer = setTimeout(() => endAs("result", `it had given its result and did not exit for ${spec.settleMs} ms`), spec.settleMs);
  });
  const take = (output: Output) => (bytes: Buffer) => {
    output.push(bytes);
    // What an agent writes is progress only where its reader says so.
    if (outputs.agent === null) progress();
    if (outputs.stdout.bytes() + outputs.stderr.bytes() > maxOutputBytes) endAs("output_limit", "it wrote more than 1 GiB");
  };
  const program = await start(spec, runDir, env, fifos, tree, take(outputs.stdout), take(outputs.stderr));
  if (typeof program === "string") return notStarted("spawn_failed", program);

  const { agent } = outputs;
  const limits = agent === null ? spec : { ...spec, startMs, isBusy: agent.isBusy };
  const watchdog = startWatchdog(limits, (kind, limitMs) => {
    endAs(kind, kind === "timeout" ? `it ran for more than ${limitMs} ms` : `it was silent for ${limitMs} ms`);
  });
  progress = watchdog.progress;
  const unkillable = Promise.withResolvers<{ code: null; signal: null }>();
  let killTimer: NodeJS.Timeout | undefined;
  beginStop = () => {
    signalGroup(program.child, spec.stop.signal);
    killTimer = setTimeout(async () => {
      // A leader that hangs in the kernel survives even this: the run ends all the same, and the record names it.
      if ((await killTree(tree)).length > 0) unkillable.resolve({ code: null, signal: null });
    }, spec.stop.graceMs);
  };
  if (ending.end !== "exited") beginStop();
  stopRequest.then(() => endAs(stopReason(runDir), null));

  const { code, signal } = await Promise.race([program.exit, unkillable.promise]);
  watchdog.stop();
  clearTimeout(killTimer);
  clearTimeout(settleTimer);
  clearTimeout(budgetTimer);
  const { end, message } = ending;
  await Promise.race([program.closed, delay(quietMs)]);
  const survivors = await killTree(tree);
  await Promise.race([program.closed, delay(quietMs)]);
  program.release();
  return { ...(await closeOutputs(outputs, { end, exitCode: code, signal, message })), survivors };
}

function notStarted(end: RunEnd, message: string): Outcome {
  const silence = { stdoutTail: "", stderrTail: "", stdoutBytes: 0, stderrBytes: 0, agent: null };
  return { end, exitCode: null, signal: null, message, ...silence, survivors: [] };
}

async function openOutputs(
  spec: RunSpec,
  runDir: string,
  env: Record<string, string>,
  onAgentLine: (agent: AgentStream, line: string, isCut: boolean) => void,
): Promise<Outputs> {
  const files = runFiles(runDir);
  const secrets = secretValues(env);
  const agent = spec.reader === null ? null : await openAgentStream(spec.reader, spec, files);
  const open = (path: string, onLine: (line: string, isCut: boolean) => void) =>
    createOutput({ path, keepBytes: spec.keepBytes, redact: createRedactor(secrets), longestSecret: secrets[0]?.length ?? 0, onLine });
  return {
    agent,
    stdout: open(files.stdout, (line, isCut) => {
      if (agent) onAgentLine(agent, line, isCut);
    }),
    stderr: open(files.stderr, () => {}),
  };
}

async function closeOutputs({ stdout, stderr, agent }: Outputs, ending: Ending): Promise<Omit<Outcome, "survivors">> {
  stdout.end();
  stderr.end();
  const { exitCode, signal, end } = ending;
  const howItEnded = end === "result" ? ({ exitCode: 0, signal: null, end: "exited" } as const) : { exitCode, signal, end };
  return {
    ...ending,
    stdoutTail: stdout.tail(),
    stderrTail: stderr.tail(),
    stdoutBytes: stdout.bytes(),
    stderrBytes: stderr.bytes(),
    agent: agent === null ? null : await agent.end({ ...howItEnded, stderrTail: stderr.tail() }),
  };
}

/** Starts the program in a session of its own and sets `tree.leader`; resolves with words for people if it cannot be started. */
async function start(
  spec: RunSpec,
  runDir: string,
  env: Record<string, string>,
  fifos: Fifos,
  tree: TreeMark,
  onStdout: (bytes: Buffer) => void,
  onStderr: (bytes: Buffer) => void,
): Promise<Program | string> {
  const files = runFiles(runDir);
  const pipes = await openPipes(fifos);
  const [stdout, stderr] = pipes;
  const followed = spec.stdout === "file" ? openFollowedFile(files.stream, onStdout) : null;
  const stdin = openSync(spec.stdin === "prompt" ? files.prompt : "/dev/null", "r");
  const release = () => {
    followed?.close();
    for (const { stream } of pipes) stream.destroy();
  };
  try {
    const child = spawn(spec.argv[0] ?? "", spec.argv.slice(1), {
      cwd: spec.cwd,
      env,
      detached: true,
      stdio: [stdin, followed?.writeFd ?? stdout.writeFd, stderr.writeFd],
    });
    const exit = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
      child.once("exit", (code, signal) => resolve({ code, signal }));
    });
    if (child.pid !== undefined) tree.leader = { pid: child.pid, start: readStat(child.pid)?.start ?? "" };
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", reject);
    });
    followed?.follow();
    return { child, exit, closed: Promise.all([drain(stdout, onStdout), drain(stderr, onStderr)]), release };
  } catch (error) {
    release();
    return spawnProblem(spec, env, error as NodeJS.ErrnoException);
  } finally {
    closeWriteEnds(pipes);
    closeSync(stdin);
  }
}

/** Hands on what comes through a pipe; resolves at its end. */
function drain({ stream }: Pipe, onData: (bytes: Buffer) => void): Promise<void> {
  return new Promise((resolve) => {
    stream.on("data", onData);
    stream.once("end", resolve);
    stream.once("error", () => resolve());
  });
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-(child.pid ?? 0), signal);
  } catch {
    // It ended in the meantime.
  }
}
