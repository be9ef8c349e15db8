import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { adapterFor } from "../agents/adapters.ts";
import type { Adapter, AgentRequest } from "../agents/agent.ts";
import { capabilitiesOf } from "../agents/cli-facts.ts";
import type { McpServer } from "../agents/mcp.ts";
import { costOf, tokensOf, totalUsage } from "../agents/price.ts";
import { parseVerdict } from "../agents/verdict.ts";
import type { AgentConfig } from "../domain/config.ts";
import { UserError } from "../domain/errors.ts";
import type { RunFacts, TicketEvent } from "../domain/event.ts";
import { isProviderTrouble } from "../domain/park.ts";
import type { ExitRecord, RunSpec } from "../domain/run.ts";
import type { AgentReport, Verdict } from "../domain/session.ts";
import type { HistoryEntry } from "../domain/ticket.ts";
import type { PhaseOf } from "../domain/workflow.ts";
import { amountText } from "../engine/budget.ts";
import { forgetProbes, probeAgent, programProblem } from "../executors/agent-probe.ts";
import { startPoint } from "../git/base.ts";
import { changedPaths, commitAll, diffText } from "../git/commit.ts";
import { commitOf, GitError, gitText, type Repo } from "../git/git.ts";
import { saveCommit, snapshotTree } from "../git/recovery.ts";
import { isAncestor, mergeBase, treeOf } from "../git/refs.ts";
import { type Worktree, worktreeState } from "../git/worktree.ts";
import { resetTo } from "../git/worktree-removal.ts";
import { resolveEnvReferences } from "../inputs/config.ts";
import { templateReads } from "../inputs/prompts.ts";
import { skillsText } from "../inputs/skills.ts";
import { isRootOnly } from "../lib/root-only.ts";
import { writeDurable } from "../state/atomic-write.ts";
import { captureOutput, passedRun } from "./capture.ts";
import { guardAfter, guardAfterLost, guardBefore, withBreach } from "./checkout-guard.ts";
import { noVerdict, refusedResume } from "./conversation.ts";
import { conversationOf } from "./earlier-runs.ts";
import { commonEnding, excerpt, failedRun, unusableProgram } from "./ending.ts";
import { childEnvironment } from "./environment.ts";
import { failureContext, phasePrompt } from "./failure-context.ts";
import { outputProblem, schemaRequest } from "./output-schema.ts";
import type { PhaseContext, PhaseHandler, Start } from "./phase.ts";
import { writePrivateFiles } from "./private-files.ts";
import { programStart } from "./program-start.ts";
import { outsideScope } from "./scope.ts";
import { phaseVariables } from "./variables.ts";
import { baseOf, branchFacts, commitSubject, commitTrailers, repositoryOf, worktreeOf } from "./workspace.ts";

const keepBytes = 40 * 1024 * 1024;
/** Hooks and servers that a CLI ends after its result take seconds. */
const settleMs = 15_000;
const patchLimit = 2 * 1024 * 1024;

type Context = PhaseContext<PhaseOf<"agent">>;

/** Runs a coding agent in the ticket's worktree, commits what it leaves, and judges the run by evidence. */
export const agent: PhaseHandler<PhaseOf<"agent">> = {
  async start(context): Promise<Start> {
    const { phase, config } = context;
    const { configured, adapter } = agentConfig(context);
    const lost = await guardAfterLost(context);
    if (lost?.stops && config.checkoutGuard === "stop") {
      const news: TicketEvent = { type: "interrupted", at: context.now(), runId: context.ref.runId, reason: "It was not started." };
      return { kind: "news", event: withBreach(context, news, lost) };
    }
    const repo = await repositoryOf(context);
    const base = baseOf(context, repo);
    // What an earlier run left half done, a rebase say, is the next run's to finish.
    const [worktree, { name, sha }] = await Promise.all([worktreeOf(context, repo, { leaveHead: true, base }), base]);
    const failed = { head: worktree.head, base: sha, env: { ...context.daemonEnv, ...configured.env } };
    const told = { failureContext: await failureContext(context, repo, failed), skills: skillsFor(context) };
    const variables = phaseVariables(context, { base: name, ...told });
    const ofAgent = { kind: "agent", provider: adapter.provider, configured: configured.env } as const;
    const ownEnv = childEnvironment(context, variables, { ...ofAgent, required: {} });
    const { command: program, defaultArgs } = configured;
    const probe = { adapter, command: program, defaultArgs, env: { PATH: ownEnv.PATH ?? "" }, cwd: worktree.path, home: config.home };
    const probed = await probeAgent(probe);
    const problem = programProblem(probe, probed);
    if (problem) return { kind: "news", event: unusableProgram(context, problem) };
    const cli = probed?.cli;
    const conversation = conversationOf(context, adapter, cli, { env: ownEnv, cwd: worktree.path });
    const { session, notes } = conversation;
    const model = isStandIn(context) ? configured.model : (phase.model ?? context.ticket.model ?? configured.model);
    const { limits, reserved } = context.budget();
    const mcpServers = mcpServersOf(context);
    const request: AgentRequest = {
      command: configured.command,
      cwd: worktree.path,
      session,
      readOnly: phase.readOnly,
      defaultArgs,
      runDir: context.runDir,
      isRoot: process.getuid?.() === 0,
      isRootOnly: isRootOnly(config.home),
      isTrusted: configured.trustRepository,
      ...optional("model", model),
      ...optional("effort", isStandIn(context) ? configured.effort : (phase.effort ?? configured.effort)),
      ...optional("outputSchema", phase.outputSchema),
      mcpServers,
      ...optional("maxUsd", adapter.capabilities.maxUsd ? limits.find(({ unit }) => unit === "usd")?.amount : undefined),
      ...optional("maxTurns", phase.maxTurns),
      ...optional("allowedTools", phase.allowedTools),
      repoSettings: adapter.repoSettings.filter((path) => existsSync(join(worktree.path, path))),
      ...optional("cli", cli),
    };
    const command = adapter.command(request);
    if (command.refusal) throw refused(context, command.refusal);
    await writePrivateFiles(config.home, context.runDir, command.files);
    const childEnv = childEnvironment(context, variables, { ...ofAgent, required: command.env });
    // Last: what changes from here on is the run's doing, or a person's.
    const env = { ...childEnv, ...(await guardBefore(context, repo)) };
    const able = adapter.probing ? capabilitiesOf(adapter.capabilities, adapter.probing, cli) : adapter.capabilities;
    const form = phase.outputSchema === undefined || able.outputSchema ? "" : schemaRequest(phase.outputSchema);
    const prompt = conversation.prompt(`${phasePrompt(config.promptDirs, phase.promptTemplate, variables)}${form}`);
    return programStart(context, env, {
      argv: command.argv,
      cwd: worktree.path,
      prompt: `${command.stdinPrefix}${prompt}`,
      stdout: command.stdout,
      reader: adapter.provider,
      ...priorUsage(context, session),
      ...optional("model", model),
      ...(Object.keys(config.prices).length > 0 ? { prices: config.prices } : {}),
      ...(limits.length > 0 ? { limits } : {}),
      reserved,
      idleSeconds: config.agentIdleTimeoutSeconds,
      endLoops: config.progressWatch === "on",
      keepBytes,
      stop: command.stop,
      settleMs,
      data: {
        agent: context.agent,
        head: worktree.head,
        ...resumedIn(session),
        ...(phase.readOnly ? { files: await filesOf(worktree) } : {}),
      },
      hidden: secretsOf(mcpServers),
      notes: [...notes, ...command.notes, ...(lost ? [lost.evidence] : [])],
    });
  },

  async settle(now, spec, exit): Promise<TicketEvent> {
    // Configuration and ticket may name another agent since it was started.
    const context: Context = { ...now, agent: String(spec.data.agent) };
    // Beside each other: the one looks at the user's checkouts alone, the other at the worktree.
    const [guarded, worked] = await Promise.allSettled([guardAfter(context), settleWork(context, spec, exit)]);
    if (guarded.status === "rejected") throw guarded.reason;
    const breach = guarded.value;
    if (worked.status === "fulfilled") return breach === undefined ? worked.value : withBreach(context, worked.value, breach);
    const { reason } = worked;
    // What was done to the repository may be why its work cannot be read.
    if (breach === undefined || (!(reason instanceof GitError) && !(reason instanceof UserError))) throw reason;
    return withBreach(context, failure(context, "isolation", breach.evidence), breach);
  },
};

async function settleWork(context: Context, spec: RunSpec, exit: ExitRecord): Promise<TicketEvent> {
  const common = commonEnding(context, exit) ?? budgetEnding(context, spec, exit);
  const { readOnly } = context.phase;
  if (common?.type === "faulted" || (common && common.type !== "failed" && !readOnly)) return common;
  const repo = await repositoryOf(context);
  const worktree = await worktreeOf(context, repo, { leaveHead: true });
  const before = String(spec.data.head);
  const problem = readOnly
    ? await undoChanges(context, repo, worktree, { head: before, files: spec.data.files })
    : await commitWork(context, worktree, before);
  if (common && common.type !== "failed") return common;
  const facts = await reportFacts(context, repo, exit);
  const refused = refusedResume(spec.data.resumed, exit.agent);
  if (refused !== undefined)
    return { type: "interrupted", at: context.now(), runId: context.ref.runId, category: "environment", reason: refused };
  // It refused what it had been found to take: the next run asks it anew.
  if (exit.agent?.failure?.category === "incompatible") forgetProbes(context.config.home, exit.agent.provider);
  const unserved = providerTrouble(context, exit);
  // What is left half done or was not allowed is there for the next run, or taken back: it is no reason why this one ended.
  if (unserved) return { ...unserved, ...facts };
  if (problem !== undefined) return { ...failure(context, readOnly ? "scope" : "implementation", problem), ...facts };
  await savePatch(context, repo, before, facts.head);
  if (common) return { ...common, ...facts };
  return judge(context, repo, exit, facts);
}

/** The evidence in order: what the CLI says of itself, its exit code, its diff, its verdict, its captures. */
async function judge(context: Context, repo: Repo, exit: ExitRecord, facts: RunFacts): Promise<TicketEvent> {
  const { phase } = context;
  const report = exit.agent;
  if (report?.failure) return { ...failure(context, report.failure.category, report.failure.message), ...facts };
  if (exit.end !== "result" && exit.exitCode !== 0)
    return { ...failedRun(context, exit, `${context.agent} ended with exit code ${exit.exitCode}`), ...facts };
  if (!report || report.finalText === null)
    return { ...failure(context, "unknown", `${context.agent} ended without a final message.`), ...facts };
  const strays = await straysOf(context, repo, facts);
  if (strays.length > 0)
    return {
      ...failure(context, "scope", `It changed files outside its scope: ${strays.slice(0, 20).join(", ")}. Take those changes back.`),
      ...facts,
    };
  if (phase.changes === "required" && !(await leftChange(context, repo, facts))) {
    return { ...failure(context, "implementation", "It left no change, and one was asked for."), ...facts };
  }
  const parsed = parseVerdict(report.finalText, phase.verdict);
  const unfit = phase.outputSchema === undefined ? undefined : outputProblem(phase.outputSchema, report.finalText);
  if (unfit !== undefined) return { ...failure(context, "verification", unfit), feedback: unfit, ...facts };
  const captured = captureOutput(context, report.finalText);
  if ("missing" in parsed) {
    return { ...failure(context, "unknown", `${noVerdict}: ${parsed.missing}`), ...facts, reask: true };
  }
  if ("verdict" in parsed) {
    await writeDurable(`${context.runDir}/verdict.json`, `${JSON.stringify(parsed.verdict, null, 2)}\n`);
    if (parsed.verdict.verdict === "fail") {
      const { summary } = parsed.verdict;
      return {
        ...failure(context, "verification", summary || "The verdict is FAIL."),
        feedback: findingsText(parsed.verdict, report),
        ...facts,
        captured,
      };
    }
  }
  const passed = await passedRun(context, facts, report.finalText, context.resolved.worktree);
  if (passed.type !== "passed") return passed;
  return { ...passed, captured: { ...passed.captured, ...(await ticketScopeNote(context, repo, facts)) } };
}

/** What is said of a ticket whose own scope was left: a planner guesses it, so that it is for a reviewer to judge, not a failure. */
async function ticketScopeNote({ ticket, phase }: Context, repo: Repo, facts: RunFacts): Promise<Record<string, string>> {
  const from = ticket.baseSha ?? facts.baseSha;
  if (ticket.scope.length === 0 || phase.readOnly || !from || !facts.head) return {};
  const paths = (await changedPaths(repo, from, facts.head)).map((change) => change.path);
  return { outside_scope: outsideScope({ allow: ticket.scope }, paths).slice(0, 20).join(", ") };
}

function agentConfig({ config, agent, phase }: Context): { configured: AgentConfig; adapter: Adapter } {
  const configured = Object.hasOwn(config.agents, agent) ? config.agents[agent] : undefined;
  if (!configured) {
    throw new UserError(`Phase "${phase.id}" is to run agent "${agent}", which ${config.file} does not define.`, {
      hint: `it defines ${Object.keys(config.agents).join(", ")}`,
      exit: "invalid",
    });
  }
  return { configured, adapter: adapterFor(configured.command, agent) };
}

/** The skills that this phase's prompt holds: its own, and those of the ticket where its template has a place for them. */
function skillsFor({ config, phase, ticket }: Context): string {
  const ofTicket = templateReads(config.promptDirs, phase.promptTemplate, "skills") ? ticket.skills : [];
  return skillsText(config.skillsDirs, [...(phase.skills ?? []), ...ofTicket]);
}

function refused({ agent, config }: Context, why: string): UserError {
  return new UserError(`Agent "${agent}" is not started: ${why}.`, {
    hint: `give the work to another agent, or set agents.${agent}.trustRepository to true in ${config.file}`,
    exit: "unsafe",
  });
}

/** The servers of the configuration that this phase lets its agent have: with `allowedTools`, those that it names as `mcp__<server>`. */
function mcpServersOf({ config, phase, daemonEnv }: Context): Record<string, McpServer> {
  const { allowedTools } = phase;
  const isAllowed = (name: string) => allowedTools?.some((rule) => rule === `mcp__${name}` || rule.startsWith(`mcp__${name}__`)) ?? true;
  const servers = Object.entries(config.mcpServers).flatMap(
    ([name, { command, args, env = {}, url, headers = {} }]): [string, McpServer][] => {
      if (!isAllowed(name)) return [];
      if (url !== undefined) return [[name, { url, headers: resolveEnvReferences(headers, daemonEnv) }]];
      return command === undefined ? [] : [[name, { command, args, env: resolveEnvReferences(env, daemonEnv) }]];
    },
  );
  return Object.fromEntries(servers);
}

/** What servers know that nobody is to read in a log, under names that say so. */
function secretsOf(servers: Record<string, McpServer>): Record<string, string> {
  const values = Object.values(servers).flatMap((server): [string, string][] => {
    if ("command" in server) return Object.entries(server.env);
    // The secret stands behind a word such as Bearer.
    return Object.values(server.headers).map((value) => ["SECRET", value.split(" ").at(-1) ?? ""]);
  });
  return Object.fromEntries(values.map(([name, value], i) => [`ORCH_MCP_${i}_${name}`, value]));
}

/** Whether another agent than the phase's own works: models are named for that one. */
function isStandIn({ ticket: { activity } }: Context): boolean {
  return activity.state === "running" && activity.agent !== undefined;
}

/**
 * What a run comes to that its provider did not serve, also one that waited for it until its time was up. A model that the
 * phase or ticket names and the provider does not have is no trouble of the provider.
 */
function providerTrouble(context: Context, exit: ExitRecord): Extract<TicketEvent, { type: "failed" }> | undefined {
  const found = exit.agent?.failure;
  if (!found || !isProviderTrouble(found.category)) return undefined;
  const named = isStandIn(context) ? null : (context.phase.model ?? context.ticket.model);
  if (found.category === "incompatible" && named && /model/i.test(found.message)) return undefined;
  return { ...failure(context, found.category, found.message), provider: { ...optional("resetsAt", found.resetsAt) } };
}

/**
 * What a run that used up a limit means: under the phase's own cap it failed. A wider cap is not this run's doing: the
 * ticket waits until there is room, and goes on in the same conversation. Undefined when no limit ended it.
 */
function budgetEnding(context: Context, spec: RunSpec, exit: ExitRecord): TicketEvent | undefined {
  const spent = exit.agent?.spent;
  const used = {
    usd: spent ? (costOf(spent, spec.model, spec.prices).usd ?? 0) : 0,
    tokens: spent ? tokensOf(totalUsage(spent)) : 0,
  };
  const reached = (spec.limits ?? []).filter(({ unit, amount }) => used[unit] > 0 && used[unit] >= amount);
  const byItself = exit.agent?.failure?.category === "budget" && reached.some(({ unit }) => unit === "usd");
  if (exit.end !== "budget" && !byItself) return undefined;
  const limit = reached.find(({ of }) => of === "phase") ?? reached[0];
  const session = optional("session", exit.agent?.session);
  if (limit?.of === "phase") {
    const { unit, amount } = limit;
    const reason = `It used ${amountText(used[unit], unit)} of the ${amountText(amount, unit)} that a run of "${context.phase.id}" may use.`;
    return { ...failure(context, "budget", reason), ...session };
  }
  const whose = limit === undefined || limit.of === "day" ? "the budget" : `the budget of its ${limit.of}`;
  const reason = `It was stopped because ${whose} is used up.`;
  return { type: "interrupted", at: context.now(), runId: context.ref.runId, category: "budget", reason, ...session };
}

/** What the spec notes of the conversation that the run is to go on with. */
function resumedIn(session: AgentRequest["session"]): { resumed?: string } {
  return session.kind === "resume" ? { resumed: session.session.id } : {};
}

/** Tokens that the resumed session had used before: some CLIs report totals over the whole session. */
function priorUsage(context: Context, session: AgentRequest["session"]): Pick<RunSpec, "priorUsage"> {
  if (session.kind === "new") return {};
  const total = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };
  for (const { session: its, usage } of context.ticket.phaseHistory) {
    if (its?.id !== session.session.id || !usage) continue;
    for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += usage[key];
  }
  return { priorUsage: total };
}

function failure(
  context: Context,
  category: Extract<TicketEvent, { type: "failed" }>["category"],
  reason: string,
): Extract<TicketEvent, { type: "failed" }> {
  return { type: "failed", at: context.now(), runId: context.ref.runId, category, reason };
}

async function reportFacts(context: Context, repo: Repo, exit: ExitRecord): Promise<RunFacts> {
  const report = exit.agent;
  return {
    agent: context.agent,
    output: excerpt(report?.finalText ?? exit.stdoutTail),
    ...optional("session", report?.session),
    ...(await branchFacts(context, repo)),
  };
}

/** Commits what the agent left uncommitted; commits of its own are kept. Says why when what it left cannot be committed. */
async function commitWork({ ticket, ref, phase, config, now }: Context, worktree: Worktree, before: string): Promise<string | undefined> {
  const kind = /fix|bug/i.test(phase.id) ? "fix" : phase.id === "simplify" ? "refactor" : "feat";
  const message = `${kind}: ${commitSubject(ticket)}\n\n${commitTrailers(ref)}`;
  try {
    const { sha } = await commitAll(worktree, { message, ...optional("author", config.git) });
    // A branch that was moved back or written anew leaves commits behind that nothing else keeps.
    if (!(await isAncestor(worktree, before, sha))) await saveCommit(worktree, before, { ...ref, now: now() });
    return undefined;
  } catch (error) {
    // Conflict markers, a rebase half done: that is the agent's doing, and the next attempt's to mend.
    if (error instanceof UserError) return error.hint ? `${error.message} (${error.hint})` : error.message;
    throw error;
  }
}

/** What lies in a worktree beyond its commit, as a tree; null when nothing does. */
async function filesOf(worktree: Worktree): Promise<string | null> {
  const { clean, head } = await worktreeState(worktree);
  return clean ? null : snapshotTree(worktree, head);
}

/**
 * Takes back what a read-only phase changed, once it is saved, and says what that was; undefined when nothing was. What was
 * there before, such as files that checks left, is none of its doing. The finding is written down before it is undone:
 * after a crash in between the tree would look untouched.
 */
async function undoChanges(
  context: Context,
  repo: Repo,
  worktree: Worktree,
  before: { head: string; files: unknown },
): Promise<string | undefined> {
  const note = join(context.runDir, "undone.json");
  const { planId, ticketId } = context.ref;
  const key = { planId, ticketId, now: context.now() };
  if (!existsSync(note)) {
    const state = await worktreeState(worktree);
    const isUntouched = worktree.head === before.head && (await filesOf(worktree)) === before.files;
    if (isUntouched && state.head === before.head) return undefined;
    if (isUntouched && state.clean && !(await hasNewCommits(worktree))) {
      // It looked at another commit and did not come back.
      await resetTo(worktree, before.head, key);
      return undefined;
    }
    const tips = [worktree.head, state.head].filter((sha) => sha !== before.head);
    const committed = (await Promise.all(tips.map((sha) => changedPaths(repo, before.head, sha)))).flat().map(({ path }) => path);
    const paths = [...new Set([...committed, ...state.changedFiles])].slice(0, 20).join(", ") || "a commit without changes";
    await writeDurable(note, JSON.stringify({ paths }));
  }
  await resetTo(worktree, before.head, key);
  const { paths } = JSON.parse(readFileSync(note, "utf8")) as { paths: string };
  return `It changed files although the phase is read-only: ${paths}. The changes are taken back; orchestrator restore has them.`;
}

/** Whether HEAD has commits that no branch has but the one it may be on: then they were made just now. */
async function hasNewCommits(worktree: Worktree): Promise<boolean> {
  const current = await gitText(worktree, ["rev-parse", "--abbrev-ref", "HEAD"]);
  const known = [`--exclude=${current}`, "--branches", "--remotes"];
  return (await gitText(worktree, ["rev-list", "--max-count=1", "HEAD", "--not", ...known])) !== "";
}

/** Files out of scope that changed since another phase last passed: what this phase's own earlier attempts changed counts. */
async function straysOf({ ticket, phase }: Context, repo: Repo, facts: RunFacts): Promise<string[]> {
  const passed = ticket.phaseHistory.findLast(({ phase: its, status, head }) => its !== phase.id && status === "success" && head);
  const from = passed?.head ?? ticket.baseSha ?? facts.baseSha;
  if (!phase.scope || !from || !facts.head) return [];
  const paths = (await changedPaths(repo, from, facts.head)).map((change) => change.path);
  return outsideScope(phase.scope, paths);
}

/**
 * Whether there is new work on the branch: files differ from what they were when this phase was last begun from elsewhere
 * (work of its own interrupted runs counts), and from where the branch left the base (what others merged does not).
 */
async function leftChange(context: Context, repo: Repo, { head, baseSha }: RunFacts): Promise<boolean> {
  if (head === undefined) return false;
  const { ticket, phase } = context;
  const isElsewhere = (entry: HistoryEntry) => entry.phase !== phase.id && entry.head !== undefined;
  const since = ticket.phaseHistory.findLast(isElsewhere)?.head ?? ticket.baseSha ?? baseSha;
  const fork = await mergeBase(repo, head, await startPoint(repo, await baseOf(context, repo)));
  const tree = await treeOf(repo, head);
  for (const sha of [since, fork]) {
    if (sha && (await commitOf(repo, sha)) !== null && (await treeOf(repo, sha)) === tree) return false;
  }
  return true;
}

async function savePatch(context: Context, repo: Repo, before: string, head: string | undefined): Promise<void> {
  if (!head || head === before) return;
  const { text, truncated } = await diffText(repo, before, head, patchLimit);
  await writeDurable(`${context.runDir}/diff.patch`, truncated ? `${text}\n[cut off after ${patchLimit} bytes]\n` : text);
}

function findingsText(verdict: Verdict, report: AgentReport): string {
  const lines = [
    ...verdict.findings.map(
      (finding) =>
        `- [${finding.severity}] ${finding.file ? `${finding.file}${finding.line ? `:${finding.line}` : ""}: ` : ""}${finding.message}`,
    ),
    ...verdict.steps.filter((step) => !step.pass).map((step) => `- step ${step.step} failed: ${step.note}`),
  ];
  return lines.length > 0 ? [verdict.summary, ...lines].filter((line) => line !== "").join("\n") : (report.finalText ?? verdict.summary);
}

/** `{[name]: value}`, or nothing when there is no value: optional fields stay absent. */
function optional<K extends string, V>(name: K, value: V | null | undefined): { [key in K]?: V } {
  return value === null || value === undefined ? {} : ({ [name]: value } as { [key in K]: V });
}
