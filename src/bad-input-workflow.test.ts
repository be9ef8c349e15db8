import { existsSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { type TestHome, testHome } from "./testing/home.ts";
import { runHere } from "./testing/run-here.ts";
import { testRunner } from "./testing/runner.ts";
import { until } from "./testing/until.ts";

async function cli(home: TestHome, ...args: string[]): Promise<{ code: number | null; said: string }> {
  const { code, stdout, stderr } = await runHere({ env: home.env, cwd: home.dir }, ...args);
  return { code, said: (stderr + stdout).replaceAll(home.dir, "DIR") };
}

const script = (more: string) => `  - {id: a, type: script, command: work.sh, onSuccess: done${more}}\n`;
const agent = (more: string) => `  - {id: a, type: agent, promptTemplate: simplify.md, onSuccess: done${more}}\n`;
const done = "  - {id: done, type: terminal}\n";

/** Row and fault of a workflow, its phases, and what is said of it after its file's name. */
const broken: Record<string, [string, RegExp]> = {
  "12-success": [
    script("").replace("done", "dnoe") + done,
    /:3:\d+ {2}phases\[0\]\.onSuccess: .*"dnoe" \(phases: a, done\).*did you mean "done"/,
  ],
  "12-failure": [script(", onFailure: nowhere") + done, /:3:\d+ {2}phases\[0\]\.onFailure: there is no phase "nowhere"/],
  "13-twice": [script("") + script("") + done, /:4:\d+ {2}phases\[1\]\.id: the id "a" is used twice \(the other one is on line 3\)/],
  "13-proto": [script("").replace("id: a", "id: __proto__") + done, /:3:\d+ {2}phases\[0\]\.id: a phase id starts with a letter/],
  "14-unreachable": [script("") + script("").replace("id: a", "id: b") + done, /:4:\d+ {2}phases\[1\]\.id: no edge leads to "b"/],
  "14-circle": [
    script("").replace("done", "b") + script(", onFailure: done").replace("id: a", "id: b").replace("done", "a") + done,
    /:3:\d+ {2}phases\[0\]\.id: success leads round in a circle: a → b → a/,
  ],
  "15-script": [script("").replace("command: work.sh, ", "") + done, /:3:\d+ {2}phases\[0\]\.command: "command" is required/],
  "15-agent": [agent("").replace("promptTemplate: simplify.md, ", "") + done, /:3:\d+ {2}phases\[0\]\.promptTemplate: .* is required/],
  "16-outside": [
    script("").replace("work.sh", "../../outside.sh") + done,
    /:3:\d+ {2}phases\[0\]\.command: the script "\.\.\/\.\.\/outside\.sh" is refused: it leaves the folder/,
  ],
  "16-absolute": [script("").replace("work.sh", "/bin/sh") + done, /:3:\d+ {2}phases\[0\]\.command: .*it is an absolute path/],
  "16-link": [script("").replace("work.sh", "link.sh") + done, /:3:\d+ {2}phases\[0\]\.command: .*is a link out of its folder/],
  "17-template": [
    agent("").replace("simplify.md", "none.md") + done,
    /:3:\d+ {2}phases\[0\]\.promptTemplate: there is no prompt template "none\.md"/,
  ],
  "17-variable": [
    script(', args: ["{{ titel }}"]') + done,
    /:3:\d+ {2}phases\[0\]\.args\[0\]: the variable "titel" has no value.*did you mean "title"/,
  ],
  "18-shell": [script(', capture: {x: "echo {{ title }}"}') + done, /:3:\d+ {2}phases\[0\]\.capture\.x: .*\[template-in-shell\]/],
  "20-zero": [
    script(", intervalSeconds: 0").replace("script", "poll") + done,
    /:3:\d+ {2}phases\[0\]\.intervalSeconds: .*greater than 0.*got 0/,
  ],
  "20-longer": [
    script(", intervalSeconds: 60, timeoutSeconds: 30").replace("script", "poll") + done,
    /:3:\d+ {2}phases\[0\]\.intervalSeconds: .*\[poll-interval\]/,
  ],
  "20-overflow": [
    script(", timeoutSeconds: 2592000000") + done,
    /:3:\d+ {2}phases\[0\]\.timeoutSeconds: .*timers cannot count beyond 30 days/,
  ],
  "24-yes": [script(", on: yes") + done, /:3:\d+ {2}phases\[0\]\.on: expected a mapping, got string "yes"/],
  "24-octal": [script(", maxRetries: 0o12x") + done, /:3:\d+ {2}phases\[0\]\.maxRetries: expected a whole number/],
  "2-tab": ["\t- id: a\n", /:3:1 {2}Tabs are not allowed as indentation/],
  "2-twice": [script("").replace("id: a", "id: a, id: a") + done, /:3:13 {2}Map keys must be unique/],
  "2-documents": [`${script("")}${done}---\nname: other\n`, /:5:1 {2}the file holds several YAML documents/],
};

it("12 to 24 a workflow that cannot be used holds the plans that use it, with file, line, field and fix, and no other", async () => {
  const home = testHome();
  home.writeScript("work.sh", "true\n");
  writeFileSync(join(home.dir, "outside.sh"), "touch OUTSIDE\n");
  symlinkSync(join(home.dir, "outside.sh"), join(home.home, "scripts", "link.sh"));
  for (const [name, [phases]] of Object.entries(broken)) home.writeWorkflow(`${name}.yaml`, `name: ${name}\nphases:\n${phases}`);
  home.writeWorkflow("good.yaml", `name: good\nphases:\n${script("")}${done}`);
  home.writePlan({ id: "p", workflow: "good" }, [
    ...Object.keys(broken).map((name) => ({ ticketId: `T-${name}`, workflow: name })),
    { ticketId: "GOOD" },
  ]);
  const check = await cli(home, "check");
  expect(check.code).toBe(8);
  expect(check.said).toContain("[tab-as-indent]\n    \\t- id: a\n    ^\n");
  const twice = "  - {id: a, id: a, type: script, command: work.sh, onSuccess: done}";
  expect(check.said).toContain(`[duplicate-key]\n    ${twice}\n    ${" ".repeat(twice.lastIndexOf("id:"))}^\n`);
  expect((await cli(home, "workflow", "lint", "2-documents")).said).toContain("[several-documents]\n    ---\n    ^\n");
  const runner = await testRunner(home);
  const ended = Object.fromEntries(Object.keys(broken).map((name) => [`T-${name}`, "needs_attention" as const]));
  await runner.settle("p", { ...ended, GOOD: "complete" });
  const status = await cli(home, "status");
  for (const [name, [, words]] of Object.entries(broken)) {
    const line = check.said.split("\n").find((each) => new RegExp(`workflows/${name}\\.yaml${words.source}`).test(each));
    expect([name, line]).toEqual([name, expect.stringMatching(/^error: DIR\/home\/workflows\/.* — fix: .+ \[[a-z-]+\]$/)]);
    const { error } = home.ticket("p", `T-${name}`);
    expect([name, error]).toEqual([name, expect.stringContaining(`/workflows/${name}.yaml:`)]);
    expect(status.said).toContain(`${name}.yaml:`);
  }
  expect((await cli(home, "why", "p", "T-12-success")).said).toContain('there is no phase "dnoe"');
  expect(existsSync(join(home.repo, "OUTSIDE"))).toBe(false);
  await until(async () => {
    await runner.runner.tick();
    return home.plan("p").status === "blocked";
  });
});

it("21 a plan that has begun keeps the workflow it began with, whatever becomes of the file", async () => {
  const home = testHome();
  writeFileSync(join(home.dir, "hold"), "");
  home.writeScript("first.sh", `while [ -e ${home.dir}/hold ]; do sleep 0.02; done\n`);
  home.writeScript("old.sh", `echo old >> ${home.dir}/ways\n`);
  home.writeScript("new.sh", `echo new >> ${home.dir}/ways\n`);
  const flow = (second: string) => `name: flow
phases:
  - {id: first, type: script, command: first.sh, onSuccess: second}
  - {id: second, type: script, command: ${second}, onSuccess: done}
  - {id: done, type: terminal}
`;
  home.writeWorkflow("flow.yaml", flow("old.sh"));
  home.writePlan({ id: "begun", workflow: "flow" }, [{ ticketId: "A" }]);
  const runner = await testRunner(home);
  await until(async () => {
    await runner.runner.tick();
    return home.ticket("begun", "A").status === "running";
  });
  writeFileSync(join(home.home, "workflows", "flow.yaml"), flow("new.sh"));
  home.writePlan({ id: "later", workflow: "flow" }, [{ ticketId: "A" }]);
  rmSync(join(home.dir, "hold"));
  await runner.settle("begun", { A: "complete" });
  expect(readFileSync(join(home.dir, "ways"), "utf8")).toContain("old");
  await runner.settle("later", { A: "complete" });
  expect(readFileSync(join(home.dir, "ways"), "utf8").trim().split("\n").toSorted()).toEqual(["new", "old"]);
  const [pinned] = readdirSync(join(home.home, "state/plans/begun/workflows"));
  expect(pinned).toMatch(/^flow\.[0-9a-f]{12}\.yaml$/);
});

it("22 two files with one name are both named, and which one is used", async () => {
  const home = testHome();
  home.writeScript("work.sh", "true\n");
  for (const file of ["a.yaml", "b.yaml"]) home.writeWorkflow(file, `name: same\nphases:\n${script("")}${done}`);
  expect(await cli(home, "check")).toEqual({
    code: 8,
    said: expect.stringContaining(
      'a.yaml:1:7  name: the workflow "same" is defined twice in this folder: a.yaml and b.yaml; a.yaml is used',
    ),
  });
});
