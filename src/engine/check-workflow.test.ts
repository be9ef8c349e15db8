import { describe, expect, it } from "vitest";
import { WorkflowFile } from "../domain/workflow.ts";
import { checkWorkflow } from "./check-workflow.ts";

const step = (id: string, more: object = {}) => ({ id, type: "script", command: "x.sh", ...more });
const end = (id = "complete", more: object = {}) => ({ id, type: "terminal", ...more });

function rules(...phases: object[]): string[] {
  return checkWorkflow(WorkflowFile.parse({ name: "w", phases })).map((p) => `${p.severity} ${p.rule} ${p.path.join(".")}: ${p.message}`);
}

describe("a workflow's graph", () => {
  it("that is right has no problems", () => {
    expect(
      rules(
        step("a", { onSuccess: "b", onFailure: "stop" }),
        step("b", { onSuccess: "complete", onFailure: "a", maxVisits: 3 }),
        end(),
        end("stop", { notify: true }),
      ),
    ).toEqual([]);
  });

  it("names a dangling edge, and the id that was meant", () => {
    const phases = [step("implement", { onSuccess: "complte", onFailure: "x", on: { test: "implment" } }), end()];
    expect(checkWorkflow(WorkflowFile.parse({ name: "w", phases })).filter((p) => p.rule === "dangling-edge")).toEqual([
      {
        severity: "error",
        rule: "dangling-edge",
        path: ["phases", 0, "onSuccess"],
        message: 'there is no phase "complte" (phases: implement, complete)',
        fix: 'did you mean "complete"?',
      },
      {
        severity: "error",
        rule: "dangling-edge",
        path: ["phases", 0, "onFailure"],
        message: 'there is no phase "x" (phases: implement, complete)',
        fix: "name one of these, or leave the edge out",
      },
      {
        severity: "error",
        rule: "dangling-edge",
        path: ["phases", 0, "on", "test"],
        message: 'there is no phase "implment" (phases: implement, complete)',
        fix: 'did you mean "implement"?',
      },
    ]);
  });

  it("names both phases of the same id", () => {
    const phases = [step("a", { onSuccess: "complete" }), step("a"), end()];
    expect(checkWorkflow(WorkflowFile.parse({ name: "w", phases }))).toEqual([
      {
        severity: "error",
        rule: "duplicate-id",
        path: ["phases", 1, "id"],
        other: ["phases", 0, "id"],
        message: 'the id "a" is used twice',
        fix: "rename one of the two phases",
      },
    ]);
  });

  it("keeps `retry` for onFailure of phases that run", () => {
    expect(rules(step("a", { onSuccess: "retry", onFailure: "retry", maxRetries: 2, on: { test: "retry" } }), end())).toEqual([
      'error reserved-edge phases.0.onSuccess: "retry" is allowed for onFailure of a phase that runs, and nowhere else',
      'error reserved-edge phases.0.on.test: "retry" is allowed for onFailure of a phase that runs, and nowhere else',
      'error unreachable-phase phases.1.id: no edge leads to "complete" from "a", where a ticket starts',
      "error no-terminal phases: no path through this workflow ever ends",
    ]);
    expect(rules(step("retry", { onSuccess: "complete" }), end())).toEqual([
      'error reserved-id phases.0.id: "retry" is a reserved edge, not a phase id',
    ]);
  });

  it("warns of a retry that never happens", () => {
    expect(rules(step("a", { onSuccess: "b", onFailure: "retry" }), step("b", { onSuccess: "complete", onFailure: "b" }), end())).toEqual([
      'warning pointless-retry phases.0.onFailure: "onFailure: retry" with maxRetries 0 runs nothing again',
      "warning pointless-retry phases.1.onFailure: the phase is its own failure edge with maxRetries 0, so it runs nothing again",
    ]);
    expect(rules(step("a", { onSuccess: "complete", onFailure: "a", maxRetries: 1 }), end())).toEqual([]);
  });

  it("finds phases that no edge leads to, also in islands", () => {
    expect(
      rules(step("a", { onSuccess: "complete" }), step("b", { onSuccess: "c" }), step("c", { onFailure: "b" }), end()).map(
        (r) => r.split(":")[0],
      ),
    ).toEqual(["error unreachable-phase phases.1.id", "error unreachable-phase phases.2.id", "warning default-bound phases.1.id"]);
  });

  it("ends somewhere", () => {
    expect(rules(step("a"))).toEqual(["warning no-terminal phases: no terminal phase is reached; tickets end where an edge is missing"]);
    expect(rules(step("a", { onSuccess: "b" }), step("b", { onSuccess: "a", maxVisits: 2 }))).toEqual([
      "error no-terminal phases: no path through this workflow ever ends",
    ]);
  });

  it("refuses a circle of success edges unless it is bounded", () => {
    const circle = (more: object) =>
      rules(
        step("a", { onSuccess: "b" }),
        step("b", { onSuccess: "c", onFailure: "stop" }),
        step("c", { onSuccess: "a", ...more }),
        end("stop"),
      );
    expect(circle({})).toEqual(["error unbounded-cycle phases.0.id: success leads round in a circle: a → b → c → a"]);
    expect(circle({ maxVisits: 3 })).toEqual([]);
    expect(rules(step("a", { onSuccess: "a", onFailure: "stop" }), end("stop"))).toEqual([
      "error unbounded-cycle phases.0.id: success leads round in a circle: a → a",
    ]);
  });

  it("tells which loops only the default bounds", () => {
    expect(rules(step("a", { onSuccess: "b" }), step("b", { onSuccess: "complete", onFailure: "a" }), end())).toEqual([
      "warning default-bound phases.0.id: the loop a → b → a has no maxVisits; the default of 5 visits per phase bounds it",
    ]);
  });

  it("finds settings that contradict each other", () => {
    const agent = { id: "a", type: "agent", promptTemplate: "x.md", readOnly: true, changes: "required", onSuccess: "p" };
    const poll = { id: "p", type: "poll", command: "x.sh", intervalSeconds: 60, timeoutSeconds: 30, onSuccess: "complete" };
    expect(rules(agent, poll, end()).map((r) => r.split(":")[0])).toEqual([
      "error contradiction phases.0.changes",
      "error poll-interval phases.1.intervalSeconds",
    ]);
  });

  it("finds two forms of one final message", () => {
    const asked = (verdict: string, properties: object) =>
      rules(
        { id: "a", type: "agent", promptTemplate: "x.md", verdict, outputSchema: { type: "object", properties }, onSuccess: "complete" },
        end(),
      );
    const two = (form: string) =>
      `error contradiction phases.0.verdict: the final message cannot be JSON by outputSchema and nothing else, and hold a verdict of the form "${form}"`;
    expect(asked("json", { name: {} })).toEqual([two("json")]);
    expect(asked("passfail", { verdict: {} })).toEqual([two("passfail")]);
    expect(asked("json", { verdict: {}, findings: {} })).toEqual([]);
  });
});

describe("session", () => {
  const agent = (id: string, more: object = {}) => ({ id, type: "agent", promptTemplate: "x.md", onSuccess: "complete", ...more });
  const fixing = (session: string, more: object = {}) =>
    rules(agent("build", { onSuccess: "test" }), step("test", { onSuccess: "fix" }), agent("fix", { session, ...more }), end());

  it("goes on in the conversation of a phase of the same agent", () => {
    expect([fixing("resume:build"), fixing("new"), fixing("resume:build", { agent: "codex" })].flat()).toEqual([]);
    const whole = { id: "work", type: "workflow", workflow: "other", onSuccess: "fix" };
    expect(rules(whole, agent("fix", { session: "resume:work.build" }), end())).toEqual([]);
  });

  it("names what it could not go on with", () => {
    expect(fixing("resume:biuld")).toEqual([
      'error session phases.2.session: there is no phase "biuld" whose conversation could be resumed',
    ]);
    expect(fixing("resume:test")).toEqual([
      'error session phases.2.session: no agent works in phase "test" whose conversation could be resumed',
    ]);
    const mixed = rules(
      agent("build", { agent: "claude", onSuccess: "fix" }),
      agent("fix", { agent: "codex", session: "resume:build" }),
      end(),
    );
    expect(mixed).toEqual(['error session phases.1.session: "build" is worked by agent "claude", this phase by "codex"']);
    expect(() => fixing("resume")).toThrow('expected \\"new\\" or \\"resume:<phase>\\"');
  });
});
