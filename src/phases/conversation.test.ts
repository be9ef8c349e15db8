import { describe, expect, it } from "vitest";
import type { HistoryEntry } from "../domain/ticket.ts";
import { agentReport } from "../testing/phase-context.ts";
import {
  type Choice,
  type ConversationFacts,
  chooseConversation,
  type EarlierRun,
  notResumed,
  noVerdict,
  promptOf,
  refusedResume,
} from "./conversation.ts";

const session = { id: "s1", provider: "claude" };
const at = "2026-01-01T00:00:00.000Z";

function run(entry: Partial<HistoryEntry> = {}, more: Partial<EarlierRun> = {}): EarlierRun {
  const whole: HistoryEntry = { phase: "work", status: "failure", startedAt: at, completedAt: at, runId: "0001-work", session, ...entry };
  return { entry: whole, agent: "claude", cwd: "/tree", hadBegun: true, ...more };
}

function choose(runs: EarlierRun[], more: Partial<ConversationFacts> = {}): Choice {
  const facts = { phase: { id: "work" }, agent: "claude", provider: "claude", cwd: "/tree" };
  return chooseConversation({
    ...facts,
    runs,
    isLatest: true,
    stuck: null,
    reasks: false,
    transcript: "there",
    cannotResume: null,
    ...more,
  });
}

/** `resume <session> <cause>`, `begin`, or why a new one begins. */
function said(choice: Choice): string {
  if (choice.do === "resume") return `resume ${choice.session.id} ${choice.cause}`;
  return choice.do === "begin" ? `begin${choice.isCutOff ? ", cut off" : ""}` : choice.why;
}

describe("the ladder", () => {
  it.each<[string, EarlierRun[], Partial<ConversationFacts>, string]>([
    ["the first run begins", [], {}, "begin"],
    ["a failed run is gone on with", [run({ category: "test" })], {}, "resume s1 failed"],
    ["a run that timed out is gone on with", [run({ category: "timeout" })], {}, "resume s1 failed"],
    ["an interrupted run is gone on with", [run({ status: "interrupted" })], {}, "resume s1 cut off"],
    ["a lost run is gone on with", [run({ status: "lost" })], {}, "resume s1 cut off"],
    ["an empty budget is gone on after", [run({ status: "interrupted", category: "budget" })], {}, "resume s1 budget"],
    ["P9 a provider's trouble is gone on after", [run({ status: "interrupted", category: "usage_limit" })], {}, "resume s1 provider"],
    ["a phase that comes again goes on in its own", [run({ status: "success" })], { isLatest: false }, "resume s1 again"],
    ["a missing verdict is asked for", [run({ reason: `${noVerdict}: none` })], { reasks: true }, "resume s1 verdict"],
    [
      "also when the run that asked was interrupted",
      [run({ reason: `${noVerdict}: none` }), run({ status: "interrupted" })],
      { reasks: true },
      "resume s1 verdict",
    ],
    [
      "a verdict that is missing twice begins anew",
      [run({ reason: `${noVerdict}: none` }), run({ reason: `${noVerdict}: none` })],
      { reasks: true },
      "the earlier one gave no verdict when it was asked again",
    ],
    ["a run that had not begun leaves nothing", [run({ status: "lost" }, { hadBegun: false })], {}, "begin, cut off"],
    [
      "what had begun before such a run is gone on with",
      [run(), run({ status: "interrupted", category: "rate_limit", session: undefined }, { hadBegun: false })],
      {},
      "resume s1 failed",
    ],
    [
      "P9 a task that the provider turned away unheard is not taken for the one before it",
      [run({ status: "success" }), run({ status: "interrupted", category: "usage_limit" }, { hadBegun: false })],
      { isLatest: false },
      "resume s1 again",
    ],
    [
      "P9 with session: new it is not asked in the conversation of the round before",
      [run({ status: "failure" }), run({ status: "interrupted", category: "usage_limit" }, { hadBegun: false })],
      { phase: { id: "work", session: "new" }, isLatest: false },
      "begin",
    ],
    ["a full context is never gone on with", [run({ category: "stuck" })], {}, "the earlier one led nowhere, or outgrew the model"],
    ["an agent that went in circles is told so where it did", [run({ category: "stuck" })], { stuck: "nudge" }, "resume s1 nudge"],
    [
      "also with session: new",
      [run({ category: "stalled" })],
      { stuck: "nudge", phase: { id: "work", session: "new" } },
      "resume s1 nudge",
    ],
    ["and begins anew after that", [run({ category: "stalled" })], { stuck: "anew" }, "the earlier one got nowhere"],
    ["nor what the model refuses", [run({ category: "blocker" })], {}, "the model refused to go on with the earlier one"],
    [
      "nor what the program did not find",
      [run(), run({ status: "interrupted", category: "environment", reason: `${notResumed}: x` }, { hadBegun: false })],
      {},
      "its program did not find the earlier one, or it was in use",
    ],
    ["a transcript that is gone begins anew", [run()], { transcript: "gone" }, "the transcript of the earlier one is gone"],
    ["one in use begins anew", [run()], { transcript: "in use" }, "the earlier one is open in another process"],
    ["another agent begins anew", [run()], { agent: "other" }, "the earlier one is agent claude's"],
    ["another provider begins anew", [run({}, { agent: undefined })], { provider: "pi" }, "the earlier one is of claude"],
    ["another place begins anew", [run()], { cwd: "/moved" }, "the earlier one worked in /tree"],
    ["an agent without sessions begins anew", [run({ session: undefined })], {}, "the earlier one has no session"],
    ["a release that cannot resume begins anew", [run()], { cannotResume: "claude 1.0 cannot resume" }, "claude 1.0 cannot resume"],
    ["session: new begins after a failure", [run()], { phase: { id: "work", session: "new" } }, "begin"],
    [
      "session: new begins when it comes again",
      [run({ status: "success" })],
      { phase: { id: "work", session: "new" }, isLatest: false },
      "begin",
    ],
    [
      "session: new goes on with what was cut off",
      [run({ status: "lost" })],
      { phase: { id: "work", session: "new" } },
      "resume s1 cut off",
    ],
    [
      "session: resume:build goes on in that of build",
      [run({ phase: "build", status: "success" })],
      { phase: { id: "work", session: "resume:build" } },
      "resume s1 other phase",
    ],
    [
      "and then in its own",
      [run({ phase: "build", status: "success" }), run({ session: { id: "s2", provider: "claude" } })],
      { phase: { id: "work", session: "resume:build" } },
      "resume s2 failed",
    ],
  ])("%s", (_, runs, more, expected) => {
    expect(said(choose(runs, more))).toBe(expected);
  });
});

describe("what is said", () => {
  const told = { nudge: "", anew: "", digest: "## What was done before", takenOverBy: null, messages: [], feedback: undefined };
  const say = (choice: Choice, feedback?: string) => promptOf(choice, "# T1\n\nDo it.", { ...told, feedback });

  it("a failure comes with its reason and feedback, unless the task has them", () => {
    const choice = choose([run({ category: "test", reason: "2 tests fail" })]);
    expect(say(choice, "fix a")).toContain("not accepted (test). What came of it, quoted:\n\n```text\n2 tests fail\n\nfix a\n```");
    expect(say(choice)).toMatch(/Repair what is wrong and keep what is right.\n\nThe task, as it stands now:\n\n# T1\n\nDo it\.$/);
    expect(promptOf(choice, "2 tests fail", told)).not.toContain("quoted");
  });

  it("a digest stands before the task", () => {
    expect(say(choose([run()], { transcript: "gone" }))).toBe("## What was done before\n\n## The task\n\n# T1\n\nDo it.");
  });

  it("an agent that got nowhere is told so, instead of the task in its own conversation and before it in a new one", () => {
    const stuck = { ...told, nudge: "Do something else.\n\n", anew: "That got nowhere.\n\n" };
    expect(promptOf(choose([run()], { stuck: "nudge" }), "# T1", stuck)).toBe("Do something else.\n\n");
    expect(promptOf(choose([run()], { stuck: "anew" }), "# T1", stuck)).toBe(
      "That got nowhere.\n\n## What was done before\n\n## The task\n\n# T1",
    );
    expect(promptOf(choose([], { stuck: "anew" }), "# T1", stuck)).toBe("That got nowhere.\n\n# T1");
  });

  it("a nudge is heard also where the conversation of another phase goes on, beside the new task", () => {
    const choice = choose([run({ phase: "build", status: "success" })], { phase: { id: "work", session: "resume:build" }, stuck: "nudge" });
    expect(promptOf(choice, "# T1", { ...told, nudge: "Do something else.\n\n" })).toBe(
      "You did phase `build` of this ticket in this conversation. Now another task follows on the same work.\n\nDo something else.\n\nThe task, as it stands now:\n\n# T1",
    );
  });

  it("a new conversation gets the task alone, and after an interruption a word of it", () => {
    expect(say(choose([]))).toBe("# T1\n\nDo it.");
    expect(say(choose([run({ status: "lost" }, { hadBegun: false })]))).toMatch(/^An earlier run of this task was interrupted\..*\n\n# T1/);
  });

  it("people are heard in every case", () => {
    const messages = [{ by: "ann", at, text: "keep the old endpoint\n" }];
    const all = [[], [run()], [run({ status: "interrupted", category: "budget" })], [run({ status: "lost" })]];
    for (const runs of all) {
      const prompt = promptOf(choose(runs), "# T1", { ...told, takenOverBy: "bob", messages });
      expect(prompt).toContain("The person in charge of this ticket (ann) says:\n\nkeep the old endpoint\n\n");
      expect(prompt).toContain("A person (bob) worked here since your last run");
    }
  });
});

it("a program that does not let a run into its conversation is told from all other failures", () => {
  const report = (message: string) => agentReport(null, { failure: { category: "environment", message } });
  const refusals = [
    "No conversation found with session ID: 1",
    "Error: thread/resume failed: no rollout found for thread id 1 (exit code 1)",
    "Error: Session ID 1 is already in use. (exit code 1)",
    "Saved session could not be opened: session file is corrupted",
  ];
  for (const message of refusals) expect(refusedResume("1", report(message))).toBe(`${notResumed}: ${message}`);
  expect(refusedResume(undefined, report(refusals[0] ?? ""))).toBeUndefined();
  expect(refusedResume("1", report("no such file or directory"))).toBeUndefined();
  expect(refusedResume("1", null)).toBeUndefined();
});
