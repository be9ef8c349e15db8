import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, it } from "vitest";
import { formatFinding } from "../domain/errors.ts";
import { type FlatPhase, WorkflowFile } from "../domain/workflow.ts";
import { checkWorkflow } from "../engine/check-workflow.ts";
import { tempDir } from "../testing/temp.ts";
import { listWorkflows, loadWorkflow, loadWorkflowFile, parsePinned, pinText } from "./workflows.ts";

const tools = { check: checkWorkflow };
const simple = (name: string, extra = "") =>
  `name: ${name}\ndescription: About ${name}\ntags: [x]\nphases:\n  - {id: a, type: script, command: run.sh, onSuccess: complete}\n  - {id: complete, type: terminal}\n${extra}`;

function folder(files: Record<string, string>): string {
  const dir = tempDir();
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  return dir;
}

/** `id→success/failure` of each phase. */
function edges(phases: FlatPhase[] | undefined): string[] {
  return (phases ?? []).map((p) =>
    p.type === "terminal" ? `${p.id}.` : `${p.id}→${p.onSuccess ?? "-"}/${("onFailure" in p && p.onFailure) || "-"}`,
  );
}

describe("finding workflows", () => {
  it("goes by the name inside, in the first folder that has it", () => {
    const user = folder({ "mine.yml": simple("standard"), "own.yaml": simple("own"), "notes.txt": "no", ".hidden.yaml": simple("hidden") });
    const bundled = folder({ "standard.yaml": simple("standard"), "other.yaml": simple("other") });
    mkdirSync(join(user, "folder.d"));
    expect(listWorkflows([user, bundled, "/nonexistent"], tools)).toEqual([
      { name: "other", description: "About other", tags: ["x"], file: join(bundled, "other.yaml"), shadows: [], findings: [] },
      { name: "own", description: "About own", tags: ["x"], file: join(user, "own.yaml"), shadows: [], findings: [] },
      {
        name: "standard",
        description: "About standard",
        tags: ["x"],
        file: join(user, "mine.yml"),
        shadows: [join(bundled, "standard.yaml")],
        findings: [],
      },
    ]);
    expect(loadWorkflow("standard", [user, bundled], tools).file).toBe(join(user, "mine.yml"));
  });

  it("suggests a name and lists the known ones", () => {
    const dir = folder({ "a.yaml": simple("standard"), "b.yaml": simple("bugfix") });
    expect(() => loadWorkflow("standrad", [dir], tools)).toThrow('There is no workflow "standrad" (did you mean "standard"?).');
  });

  it("P10 one broken file harms no other, and does not make way for a bundled one", () => {
    const user = folder({ "standard.yaml": "name: [\n", "good.yaml": simple("good"), "typed.yaml": "name: typed\nphases: 3\n" });
    const bundled = folder({ "standard.yaml": simple("standard") });
    const listed = listWorkflows([user, bundled], tools);
    expect(listed.map((w) => [w.name, w.findings.length > 0])).toEqual([
      ["good", false],
      ["standard", true],
      ["typed", true],
    ]);
    const broken = loadWorkflow("standard", [user, bundled], tools);
    expect([broken.file, broken.workflow]).toEqual([join(user, "standard.yaml"), undefined]);
    expect(loadWorkflow("good", [user, bundled], tools).workflow?.name).toBe("good");
  });

  it("names both files of one workflow", () => {
    const dir = folder({ "a.yaml": simple("twin"), "b.yaml": simple("twin") });
    const { findings, workflow } = loadWorkflow("twin", [dir], tools);
    expect(workflow).toBeUndefined();
    expect(findings.map(formatFinding)).toEqual([
      `${join(dir, "a.yaml")}:1:7  name: the workflow "twin" is defined twice in this folder: a.yaml and b.yaml; a.yaml is used — fix: give one of the files another name [duplicate-workflow]`,
    ]);
  });

  it("reads the folder anew each time", () => {
    const dir = folder({ "a.yaml": simple("a") });
    expect(loadWorkflow("a", [dir], tools).workflow?.description).toBe("About a");
    writeFileSync(join(dir, "a.yaml"), simple("a").replace("About a", "Changed"));
    expect(loadWorkflow("a", [dir], tools).workflow?.description).toBe("Changed");
  });
});

describe("a workflow of the first seed", () => {
  it("loads unchanged", () => {
    const file = join(import.meta.dirname, "fixtures", "first-seed", "standard.yaml");
    const { workflow, findings } = loadWorkflowFile(file, [], tools);
    expect(findings.filter((f) => f.severity === "error")).toEqual([]);
    expect(edges(workflow?.phases)).toEqual([
      "setup→implement/abort",
      "implement→self_review/escalate",
      "self_review→simplify/implement",
      "simplify→create_pr/create_pr",
      "create_pr→await_review/escalate",
      "await_review→await_merge/handle_review",
      "handle_review→await_review/escalate",
      "await_merge→cleanup/retry",
      "cleanup→complete/complete",
      "complete.",
      "escalate.",
      "abort.",
    ]);
    expect(workflow?.phases[2]).toEqual({
      id: "self_review",
      type: "agent",
      promptTemplate: "self-review.md",
      allowedTools: ["Read", "Glob", "Grep", "Bash"],
      maxTurns: 15,
      capture: { self_review_feedback: "stdout" },
      onSuccess: "simplify",
      onFailure: "implement",
      maxRetries: 0,
      maxLost: 3,
      readOnly: false,
      changes: "allowed",
    });
  });
});

describe("including a workflow", () => {
  const inner = `name: inner
params: {target: unit}
phases:
  - {id: go, type: script, command: run.sh, onSuccess: look, onFailure: bad}
  - {id: look, type: poll, command: run.sh, onSuccess: good, onFailure: retry, maxRetries: 1, on: {test: go, timeout: bad}}
  - {id: last, type: script, command: run.sh, onFailure: go}
  - {id: good, type: terminal}
  - {id: bad, type: terminal, notify: true}
`.replace("onSuccess: good, onFailure: retry", "onSuccess: last, onFailure: retry");

  it("puts its phases in place, with prefixed ids, joined edges and parameters", () => {
    const dir = folder({
      "inner.yaml": inner,
      "outer.yaml": `name: outer
phases:
  - {id: first, type: script, command: run.sh, onSuccess: sub, onFailure: sub}
  - {id: sub, type: workflow, workflow: inner, with: {target: all}, onSuccess: complete, onFailure: stop}
  - {id: complete, type: terminal}
  - {id: stop, type: terminal, notify: true}
`,
    });
    const { workflow, includes } = loadWorkflow("outer", [dir], tools);
    expect(edges(workflow?.phases)).toEqual([
      "first→sub.go/sub.go",
      "sub.go→sub.look/stop",
      "sub.look→sub.last/retry",
      "sub.last→complete/sub.go",
      "complete.",
      "stop.",
    ]);
    expect(workflow?.phases[2]).toMatchObject({ on: { test: "sub.go", timeout: "stop" }, params: { target: "all" } });
    expect(workflow?.phases[0]).not.toHaveProperty("params");
    expect(includes).toEqual([join(dir, "inner.yaml")]);
  });

  it("leads a conversation that an inner phase goes on with to the inner phase", () => {
    const agent = (id: string, more: string) => `  - {id: ${id}, type: agent, promptTemplate: x.md, ${more}}\n`;
    const dir = folder({
      "inner.yaml": `name: inner\nphases:\n${agent("build", "onSuccess: fix")}${agent("fix", "session: 'resume:build', onSuccess: end")}  - {id: end, type: terminal}\n`,
      "outer.yaml": `name: outer\nphases:\n  - {id: sub, type: workflow, workflow: inner, onSuccess: more}\n${agent("more", "session: 'resume:sub.fix', onSuccess: end")}  - {id: end, type: terminal}\n`,
    });
    const { workflow, findings } = loadWorkflow("outer", [dir], tools);
    expect(findings).toEqual([]);
    const sessions = (workflow?.phases ?? []).map((phase) => [phase.id, phase.type === "agent" ? phase.session : null]);
    expect(sessions).toEqual([
      ["sub.build", undefined],
      ["sub.fix", "resume:sub.build"],
      ["more", "resume:sub.fix"],
      ["end", null],
    ]);
  });

  it("keeps the inner ends where the outer phase has no edge for them", () => {
    const text = inner.replace(
      "id: last, type: script, command: run.sh, onFailure: go",
      "id: last, type: script, command: run.sh, onSuccess: good",
    );
    const dir = folder({ "inner.yaml": text, "outer.yaml": "name: outer\nphases:\n  - {id: sub, type: workflow, workflow: inner}\n" });
    const { workflow } = loadWorkflow("outer", [dir], tools);
    expect(edges(workflow?.phases)).toEqual([
      "sub.go→sub.look/sub.bad",
      "sub.look→sub.last/retry",
      "sub.last→sub.good/-",
      "sub.good.",
      "sub.bad.",
    ]);
  });

  it("goes up to five deep", () => {
    const level = (i: number) => `name: l${i}\nphases:\n  - {id: p${i}, type: workflow, workflow: l${i + 1}}\n`;
    const files = Object.fromEntries([0, 1, 2, 3, 4, 5].map((i) => [`l${i}.yaml`, level(i)]));
    const dir = folder({ ...files, "l6.yaml": simple("l6") });
    expect(edges(loadWorkflow("l1", [dir], tools).workflow?.phases)).toEqual([
      "p1.p2.p3.p4.p5.a→p1.p2.p3.p4.p5.complete/-",
      "p1.p2.p3.p4.p5.complete.",
    ]);
    expect(loadWorkflow("l0", [dir], tools).findings.map((f) => `${f.rule} ${f.line}`)).toContain("include-depth 3");
  });

  it.each([
    ["itself", "  - {id: s, type: workflow, workflow: outer}", "recursion", "the workflow includes itself: outer → outer"],
    ["nothing", "  - {id: s, type: workflow, workflow: nope}", "unknown-workflow", 'there is no workflow "nope"'],
    ["a broken one", "  - {id: s, type: workflow, workflow: broken}", "broken-include", 'the workflow "broken" in'],
    ["a terminal", "  - {id: s, type: workflow, workflow: empty}", "empty-include", '"empty" begins with a terminal'],
    [
      "with an unknown parameter",
      "  - {id: s, type: workflow, workflow: inner, with: {targt: x}}",
      "unknown-param",
      '"inner" has no parameter "targt" (did you mean "target"?)',
    ],
    ["with a template", "  - {id: s, type: workflow, workflow: inner, with: {target: '{{ title }}'}}", "template-in-with", "is plain text"],
    [
      "twice over",
      "  - {id: s, type: workflow, workflow: inner, onSuccess: s.go}\n  - {id: s.go, type: terminal}",
      "duplicate-id",
      'a second phase "s.go"',
    ],
    ["with ids that grow too long", `  - {id: ${"s".repeat(62)}, type: workflow, workflow: inner}`, "long-id", "longer than 64"],
    ["in a circle", "  - {id: s, type: workflow, workflow: back}", "recursion", "outer → back → outer"],
  ])("refuses %s", (_, phases, rule, message) => {
    const dir = folder({
      "inner.yaml": inner,
      "broken.yaml": "name: broken\nphases: 3\n",
      "empty.yaml": "name: empty\nphases: [{id: e, type: terminal}]\n",
      "back.yaml": "name: back\nphases: [{id: b, type: workflow, workflow: outer}]\n",
      "outer.yaml": `name: outer\nphases:\n${phases}\n`,
    });
    const { findings, workflow } = loadWorkflow("outer", [dir], tools);
    expect(workflow).toBeUndefined();
    const found = findings.find((f) => f.rule === rule);
    expect(found).toMatchObject({
      severity: "error",
      file: join(dir, "outer.yaml"),
      line: expect.any(Number),
      message: expect.stringContaining(message),
      fix: expect.any(String),
    });
  });
});

describe("pinning", () => {
  it("keeps the file's own text when nothing is included", () => {
    const dir = folder({ "a.yaml": `# mine\n${simple("a", "params: {x: y}\n")}` });
    const loaded = loadWorkflow("a", [dir], tools);
    expect(pinText(loaded)).toBe(`# mine\n${simple("a", "params: {x: y}\n")}`);
    expect(parsePinned(pinText(loaded), "pin.yaml")).toEqual(loaded.workflow);
  });

  it("keeps the expanded workflow otherwise, whatever becomes of the files", () => {
    const dir = folder({
      "a.yaml": "name: a\nphases:\n  - {id: one, type: workflow, workflow: b, with: {x: 'yes: \"1\"'}}\n",
      "b.yaml": simple("b", "params: {x: no, z: 'w'}\n"),
    });
    const loaded = loadWorkflow("a", [dir], tools);
    const text = pinText(loaded);
    writeFileSync(join(dir, "b.yaml"), "broken: [");
    expect(parsePinned(text, "pin.yaml")).toEqual(loaded.workflow);
    expect(loaded.workflow?.phases[0]).toMatchObject({ id: "one.a", params: { x: 'yes: "1"', z: "w" } });
  });

  it("refuses a text that was damaged", () => {
    expect(() => parsePinned("name: a\nphases: 3\n", "pin.yaml")).toThrow(/pin\.yaml:2:9 {2}phases: expected a list/);
    expect(() => parsePinned("name: a\nphases: [{id: x, type: workflow, workflow: y}]\n", "pin.yaml")).toThrow(/pin\.yaml is not usable/);
    expect(() => parsePinned("", "pin.yaml")).toThrow(/pin\.yaml:1:1/);
  });

  it("refuses to pin a broken workflow", () => {
    const dir = folder({ "a.yaml": "name: a\nphases: 3\n" });
    expect(() => pinText(loadWorkflow("a", [dir], tools))).toThrow(/a\.yaml is not usable/);
  });
});

describe("bundled workflows", () => {
  it("are valid files named as their file says", () => {
    const dir = join(import.meta.dirname, "..", "..", "workflows");
    for (const { name, file, findings } of listWorkflows([dir], tools)) {
      expect([name, findings]).toEqual([basename(file, ".yaml"), []]);
      expect(WorkflowFile.shape.name.safeParse(name).success).toBe(true);
    }
  });
});
