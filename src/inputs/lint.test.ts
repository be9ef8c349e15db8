import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Finding, formatFinding } from "../domain/errors.ts";
import { checkWorkflow } from "../engine/check-workflow.ts";
import { tempDir } from "../testing/temp.ts";
import { bundledAssets } from "./assets.ts";
import { lintWorkflowFile } from "./lint.ts";
import { listWorkflows } from "./workflows.ts";

const tools = { check: checkWorkflow };
const bundled = bundledAssets();

function lint(text: string, prompts: Record<string, string> = {}): string[] {
  const dir = tempDir();
  const file = join(dir, "w.yaml");
  writeFileSync(file, text);
  for (const [name, prompt] of Object.entries(prompts)) writeFileSync(join(dir, name), prompt);
  const dirs = {
    workflowDirs: [dir, bundled.workflows],
    promptDirs: [dir, bundled.prompts],
    scriptDirs: [bundled.scripts],
    skillsDirs: [dir, bundled.skills],
  };
  return lintWorkflowFile(file, dirs, tools).map((f) => formatFinding(f).replaceAll(dir, "DIR"));
}

const head = "name: w\nphases:\n";
const tail = "  - {id: complete, type: terminal}\n";
const run = (more: string) => `${head}  - {id: a, type: script, command: run.sh, onSuccess: complete${more}}\n${tail}`;
const agent = (more: string) => `${head}  - {id: a, type: agent, promptTemplate: p.md, onSuccess: complete${more}}\n${tail}`;

describe("bundled workflows", () => {
  it.each(listWorkflows([bundled.workflows], tools).map((w) => [w.name, w.file]))("%s has nothing to find", (_, file) => {
    const dirs = {
      workflowDirs: [bundled.workflows],
      promptDirs: [bundled.prompts],
      scriptDirs: [bundled.scripts],
      skillsDirs: [bundled.skills],
    };
    expect(lintWorkflowFile(file, dirs, tools).map(formatFinding)).toEqual([]);
  });
});

describe("a broken workflow is told its place, rule and fix", () => {
  it.each([
    [
      "a tab",
      "name: w\nphases:\n\t- id: a\n",
      [/^DIR\/w\.yaml:3:1 {2}Tabs are not allowed.* — fix: indent with spaces \[tab-as-indent\]$/],
    ],
    ["a key twice", `${run("")}name: x\n`, [/:5:1 {2}Map keys must be unique — fix: keep one of the two \[duplicate-key\]$/]],
    ["two documents", `${run("")}---\nname: x\n`, [/:5:1 {2}the file holds several YAML documents — fix: .* \[several-documents\]$/]],
    ["no phases", "name: w\n", [/:1:1 {2}phases: "phases" is required — fix: add it \(a list\) \[missing\]$/]],
    ["an empty list of phases", "name: w\nphases: []\n", [/:2:9 {2}phases: must not be empty .* \[out-of-range\]$/]],
    [
      "an unknown key",
      run(", maxRetrys: 2"),
      [/:3:\d+ {2}phases\[0\]\.maxRetrys: unknown key "maxRetrys" — fix: did you mean "maxRetries"\? \[unknown-key\]$/],
    ],
    [
      "a wrong type",
      run(", maxRetries: two"),
      [/phases\[0\]\.maxRetries: expected a whole number from 0 to 100, got string "two" — fix: .* \[wrong-type\]$/],
    ],
    [
      "an unknown skill",
      agent(", skills: [testing, tesing]").replace("p.md", "verify.md"),
      [/:3:\d+ {2}phases\[0\]\.skills\[1\]: there is no skill "tesing" in .* — fix: did you mean "testing"\? \[skill\]$/],
    ],
    [
      "an unknown phase type",
      `${head}  - {id: a, type: agnet}\n${tail}`,
      [/:3:19 {2}phases\[0\]\.type: string "agnet" is no type — fix: did you mean "agent"\? .* \[bad-value\]$/],
    ],
    [
      "a script without command",
      `${head}  - {id: a, type: script, onSuccess: complete}\n${tail}`,
      [/:3:5 {2}phases\[0\]\.command: "command" is required .* \[missing\]$/],
    ],
    [
      "an agent without template",
      `${head}  - {id: a, type: agent, onSuccess: complete}\n${tail}`,
      [/:3:5 {2}phases\[0\]\.promptTemplate: "promptTemplate" is required .* \[missing\]$/],
    ],
    ["a time beyond the timers", run(", timeoutSeconds: 2592000000"), [/timers cannot count beyond 30 days \[out-of-range\]$/]],
    [
      "an interval of nothing",
      `${head}  - {id: a, type: poll, command: run.sh, intervalSeconds: 0, onSuccess: complete}\n${tail}`,
      [/expected a number greater than 0 and at most 2592000, got 0 .* \[out-of-range\]$/],
    ],
    ["a bad phase id", `${head}  - {id: 1st, type: terminal}\n`, [/phases\[0\]\.id: a phase id starts with a letter.* \[bad-value\]$/]],
    ["a bad capture key", run(", capture: {a-b: stdout}"), [/phases\[0\]\.capture\.a-b: "a-b": .* \[bad-key\]$/]],
    [
      "an unknown category",
      run(", on: {tests: complete}"),
      [/phases\[0\]\.on\.tests: unknown key "tests" — fix: did you mean "test"\? \[unknown-key\]$/],
    ],
    ["on: yes", run(", on: yes"), [/phases\[0\]\.on: expected a mapping, got string "yes" .* \[wrong-type\]$/]],
    [
      "a dangling edge",
      run(", onFailure: complte"),
      [
        /:3:\d+ {2}phases\[0\]\.onFailure: there is no phase "complte" \(phases: a, complete\) — fix: did you mean "complete"\? \[dangling-edge\]$/,
      ],
    ],
    [
      "an id twice",
      `${run("")}  - {id: a, type: terminal}\n`,
      [/:5:10 {2}phases\[2\]\.id: the id "a" is used twice \(the other one is on line 3\) .* \[duplicate-id\]$/],
    ],
    [
      "a phase that is never reached",
      `${run("")}  - {id: b, type: terminal}\n`,
      [/:5:10 {2}phases\[2\]\.id: no edge leads to "b".* \[unreachable-phase\]$/],
    ],
    [
      "no terminal",
      `${head}  - {id: a, type: script, command: run.sh}\n`,
      [/:3:3 {2}phases: the workflow has no terminal phase — fix: add a phase .* \[no-terminal\]$/],
    ],
    [
      "a success circle",
      `${head}  - {id: a, type: script, command: run.sh, onSuccess: b, onFailure: complete}\n  - {id: b, type: script, command: run.sh, onSuccess: a}\n${tail}`,
      [/:3:10 {2}phases\[0\]\.id: success leads round in a circle: a → b → a .* \[unbounded-cycle\]$/],
    ],
    [
      "retry as success",
      run("").replace("onSuccess: complete", "onSuccess: retry, onFailure: complete"),
      [/"retry" is allowed for onFailure.* \[reserved-edge\]$/],
    ],
    [
      "a missing script",
      run("").replace("run.sh", "runn.sh"),
      [/:3:\d+ {2}phases\[0\]\.command: there is no script "runn\.sh" in .* \[missing-script\]$/],
    ],
    [
      "a script outside",
      run("").replace("run.sh", "../x.sh"),
      [/phases\[0\]\.command: the script "\.\.\/x\.sh" is refused.* \[path-outside\]$/],
    ],
    ["an absolute script", run("").replace("run.sh", "/bin/sh"), [/is refused: it is an absolute path .* \[path-outside\]$/]],
    [
      "a missing template",
      agent(""),
      [/:3:\d+ {2}phases\[0\]\.promptTemplate: there is no prompt template "p\.md" in .* \[missing-template\]$/],
    ],
    [
      "an undefined variable in an argument",
      run(', args: ["{{ titel }}"]'),
      [
        /:3:\d+ {2}phases\[0\]\.args\[0\]: the variable "titel" has no value here — fix: did you mean "title"\? known here: .*description.* \[undefined-variable\]$/,
      ],
    ],
    [
      "an undefined variable in env",
      run(', env: {X: "{{ nope }}"}'),
      [/phases\[0\]\.env\.X: the variable "nope" has no value here .* \[undefined-variable\]$/],
    ],
    [
      "a template in a shell capture",
      run(', capture: {x: "echo {{ title }}"}'),
      [/phases\[0\]\.capture\.x: a template inside a shell command .*ORCH_TICKET.* \[template-in-shell\]$/],
    ],
    [
      "a template in bash -c",
      run(', capture: {x: [bash, -lc, "echo {{ title }}"]}'),
      [/phases\[0\]\.capture\.x\[2\]: .* \[template-in-shell\]$/],
    ],
    [
      "a template in a check",
      `${head}  - {id: a, type: checks, commands: {test: "npm test -- {{ title }}"}, onSuccess: complete}\n${tail}`,
      [/phases\[0\]\.commands\.test: .* \[template-in-shell\]$/],
    ],
    ["bad template syntax", run(', args: ["{% if title"]'), [/phases\[0\]\.args\[0\]: .* \[template-error\]$/]],
    [
      "an unknown filter",
      run(', args: ["{{ title | nope }}"]'),
      [/phases\[0\]\.args\[0\]: .*filter not found: nope .* \[template-error\]$/],
    ],
    [
      "an interval longer than the wait",
      `${head}  - {id: a, type: poll, command: run.sh, intervalSeconds: 60, timeoutSeconds: 10, onSuccess: complete}\n${tail}`,
      [/phases\[0\]\.intervalSeconds: .* \[poll-interval\]$/],
    ],
    [
      "a read-only phase that must change",
      agent(", readOnly: true, changes: required").replace("p.md", "verify.md"),
      [/phases\[0\]\.changes: .* \[contradiction\]$/],
    ],
    [
      "an unknown include",
      `${head}  - {id: a, type: workflow, workflow: nope, onSuccess: complete}\n${tail}`,
      [/phases\[0\]\.workflow: there is no workflow "nope" .* \[unknown-workflow\]$/],
    ],
  ] as [string, string, RegExp[]][])("%s", (_, text, expected) => {
    const found = lint(text);
    expect(found).toHaveLength(expected.length);
    for (const [i, pattern] of expected.entries()) expect(found[i]).toMatch(pattern);
  });

  it("all at once, graph and types alike", () => {
    const text = `${head}  - {id: a, type: script, command: run.sh, onSuccess: nope, maxRetries: x}\n  - {id: a, type: terminal, notfy: true}\n`;
    expect(lint(text).map((f) => /\[([a-z-]+)\]$/.exec(f)?.[1])).toEqual(["dangling-edge", "wrong-type", "duplicate-id", "unknown-key"]);
  });
});

describe("variables of templates", () => {
  const capturing = (
    onFailure: string,
  ) => `${head}  - {id: one, type: script, command: run.sh, capture: {num: stdout}, onSuccess: two, onFailure: ${onFailure}}
  - {id: two, type: agent, promptTemplate: p.md, onSuccess: complete}
${tail}`;

  it("name the line in the workflow and the line in the template", () => {
    expect(lint(agent(""), { "p.md": "a\n\n{{ titel }}\n" })).toEqual([
      expect.stringMatching(/^DIR\/w\.yaml:3:\d+ {2}phases\[0\]\.promptTemplate: DIR\/p\.md:3: the variable "titel" has no value here/),
    ]);
  });

  it("show all of them, in included templates too", () => {
    const found = lint(agent(""), { "p.md": "{{ one }}{{ two | upper }}{% include 'q.md' %}", "q.md": "\n{{ three }}" });
    expect(found.map((f) => /promptTemplate: (\S+) the variable "(\w+)"/.exec(f)?.slice(1).join(" "))).toEqual([
      "DIR/p.md:1: one",
      "DIR/p.md:1: two",
      "DIR/q.md:2: three",
    ]);
  });

  it("know what earlier phases captured on every way", () => {
    expect(lint(capturing("complete"), { "p.md": "{{ num }} {{ context.num }}" })).toEqual([]);
  });

  it("know the commit that a merge leaves", () => {
    const text = `${head}  - {id: m, type: merge, onSuccess: two}\n  - {id: two, type: agent, promptTemplate: p.md, onSuccess: complete}\n${tail}`;
    expect(lint(text, { "p.md": "{{ context.merged_sha }}" })).toEqual([]);
  });

  it("warn of what only some ways capture, unless it is tested", () => {
    expect(lint(capturing("two"), { "p.md": "{{ context.num }}" })).toEqual([
      expect.stringMatching(/p\.md:1: the variable "context\.num" is not captured on every way to this phase .* \[maybe-undefined\]$/),
    ]);
    expect(lint(capturing("two"), { "p.md": "{% if context.num %}{{ context.num }}{% endif %}" })).toEqual([]);
  });

  it("do not know what only later phases capture", () => {
    const text = `${head}  - {id: one, type: agent, promptTemplate: p.md, onSuccess: two}
  - {id: two, type: script, command: run.sh, capture: {num: stdout}, onSuccess: complete}\n${tail}`;
    expect(lint(text, { "p.md": "{{ context.num }}" })).toEqual([
      expect.stringMatching(/"context\.num" has no value here .* \[undefined-variable\]$/),
    ]);
    const loop = text.replace("command: run.sh", "command: run.sh, onFailure: one, maxVisits: 2");
    expect(lint(loop, { "p.md": "{{ context.num }}" })).toEqual([expect.stringMatching(/\[maybe-undefined\]$/)]);
  });

  it("hold optional captures of the first seed under an if", () => {
    expect(lint(agent(""), { "p.md": "{% if context.self_review_feedback %}{{ context.self_review_feedback }}{% endif %}" })).toEqual([]);
  });

  it("know the workflow's parameters", () => {
    const text = agent("").replace("name: w\n", "name: w\nparams: {target: unit}\n");
    expect(lint(text, { "p.md": "{{ params.target }}" })).toEqual([]);
    expect(lint(text, { "p.md": "{{ params.targt }}" })).toEqual([expect.stringMatching(/"params\.targt" has no value here/)]);
  });

  it("are refused an include that leaves the folder", () => {
    expect(lint(agent(""), { "p.md": "{% include '../secret.md' %}" })).toEqual([
      expect.stringMatching(/"\.\.\/secret\.md" is refused.* \[template-error\]$/),
    ]);
    expect(lint(agent(""), { "p.md": "{% include 'nope.md' %}" })).toEqual([expect.stringMatching(/nope\.md.* \[template-error\]$/)]);
  });
});

describe("whatever stands in the file", () => {
  const seed = readFileSync(join(bundled.workflows, "local.yaml"), "utf8");
  const scraps = [
    "{",
    "}",
    "[",
    "]",
    ":",
    "- ",
    "\t",
    "\n",
    '"',
    "'",
    "&a ",
    "*a",
    "{{ x }}",
    "{% if %}",
    "null",
    "-1",
    "1e400",
    ".nan",
    "!!js ",
    "---\n",
    "|\n",
    "? ",
    "<<: ",
    "retry",
    "__proto__: 1\n",
    "\u2028",
    "\ufeff",
    "#",
    "%YAML 1.1\n",
    "phases:\n",
    "  ",
  ];
  const edit = fc.record({
    at: fc.nat(seed.length),
    drop: fc.nat(40),
    put: fc.oneof(fc.constantFrom(...scraps), fc.string({ maxLength: 8, unit: "binary" })),
  });

  it("mutations never throw, and what is found always has file, line, column, message and fix", () => {
    const dir = tempDir();
    const file = join(dir, "m.yaml");
    // Without templates to render: those are not what is mutated, and they take most of the time.
    const dirs = { workflowDirs: [dir], promptDirs: [dir], scriptDirs: [bundled.scripts], skillsDirs: [bundled.skills] };
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        const text = edits.reduce((t, { at, drop, put }) => t.slice(0, at) + put + t.slice(at + drop), seed);
        writeFileSync(file, text);
        const lines = text.split(/\r\n|\r|\n/).length;
        const isPlaced = ({ line = 0, column, field }: Finding) =>
          line >= 1 && line <= lines && typeof column === "number" && typeof field === "string";
        const isWhole = (f: Finding) => f.file === file && isPlaced(f) && /./.test(f.message) && /./.test(f.fix ?? "");
        // One look at all that are not: an assertion for each finding takes most of the time.
        expect(lintWorkflowFile(file, dirs, tools).filter((f) => !isWhole(f))).toEqual([]);
      }),
      { numRuns: 200 },
    );
  }, 120_000);
});
