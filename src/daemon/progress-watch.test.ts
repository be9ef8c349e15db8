import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { runCli } from "../testing/daemon.ts";
import { testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";

const fakeAgent = fileURLToPath(new URL("../testing/fake-agents/fake-agent.mjs", import.meta.url));
const call = (tool: string, input: object, output = "", isError = false) => ({ tool, input, output, isError });
const edit = (from: string, to: string) => call("Edit", { file_path: "a.ts", old_string: from, new_string: to });

const looping = [{ calls: [call("Bash", { command: "true" })] }];
const flipping = [{ calls: [edit("1", "2"), edit("2", "1")] }];
const vain = [{ calls: [edit("a", "<n>"), call("Bash", { command: "npm test" }, "FAIL adds", true)] }];
const working = [{ write: { "work.txt": "done\n" } }, { stream: "claude" }];

/** A home whose agent, called `claude`, behaves in its nth run by the nth scenario, and later by the last one. */
function home(scenarios: object[][], config: object = {}, phases?: object[]) {
  const made = testHome();
  const at = (name: string) => join(made.dir, name);
  for (const [i, scenario] of scenarios.entries()) writeFileSync(at(`scenario${i + 1}`), JSON.stringify(scenario));
  const program = at("claude");
  writeFileSync(
    program,
    `#!/bin/bash
case "$*" in *--help*|*--version*) exit 0;; esac
echo "$*" >> ${at("calls")}
n=$(wc -l < ${at("calls")})
cat > ${at("prompt")}$n
mkdir -p ~/.claude/projects/tree
echo {} >> ~/.claude/projects/tree/11111111-2222-4333-8444-555555555555.jsonl
[ -e ${at("scenario")}$n ] || n=${scenarios.length}
FAKE_SCENARIO=$(cat ${at("scenario")}$n) exec ${process.execPath} ${fakeAgent}
`,
    { mode: 0o755 },
  );
  writeFileSync(
    join(made.home, "config.yaml"),
    JSON.stringify({
      defaultAgent: "claude",
      agents: { claude: { command: program } },
      pollInterval: 0.2,
      retryBackoffSeconds: 0,
      ...config,
    }),
    { mode: 0o600 },
  );
  mkdirSync(join(made.home, "prompts"));
  writeFileSync(join(made.home, "prompts", "work.md"), "work on {{ ticketId }}\n");
  const work = [{ id: "work", type: "agent", promptTemplate: "work.md", changes: "required" }];
  made.writeWorkflow("work.yaml", JSON.stringify({ name: "work", phases: phases ?? work }));
  made.writePlan({ id: "p", workflow: "work" }, [{ ticketId: "A" }]);
  return {
    ...made,
    prompts: (n: number) => Array.from({ length: n }, (_, i) => readFileSync(at(`prompt${i + 1}`), "utf8")),
    resumed: () =>
      readFileSync(at("calls"), "utf8")
        .trimEnd()
        .split("\n")
        .map((args) => args.includes("--resume")),
  };
}

describe("P7 an agent that goes in circles", () => {
  it("is told so, begins anew, and then needs a person", { timeout: 90_000 }, async () => {
    const its = home([looping, flipping, vain]);
    const { settle } = await testRunner(its);
    await settle("p", { A: "needs_attention" }, 80_000);
    const { phaseHistory, nudges, retries, error } = its.ticket("p", "A");
    expect(phaseHistory.map(({ status, category }) => [status, category])).toEqual(Array(3).fill(["failure", "stuck"]));
    expect(phaseHistory.map(({ reason }) => reason)).toEqual([
      expect.stringMatching(/^It made the same call 30 times/),
      expect.stringMatching(/^It made the same change to a\.ts 6 times/),
      expect.stringMatching(/^The same call failed alike after each of 12 changes to a\.ts/),
    ]);
    expect({ nudges, retries }).toEqual({ nudges: { work: 2 }, retries: { work: 0 } });
    expect(error).toContain("got nowhere again after a new beginning");
    expect(its.resumed()).toEqual([false, true, false]);
    const [first, second, third] = its.prompts(3);
    expect(first).toBe("\nwork on A\n");
    expect(second).toContain("It made the same call 30 times");
    expect(third).toMatch(/It made the same change to a\.ts 6 times.*work on A\n/s);
    const why = (await runCli(its, "why", "p", "A")).stdout;
    expect(why).toContain("The same call failed alike");
  });

  it("goes on well once it was told", { timeout: 60_000 }, async () => {
    const its = home([looping, working]);
    const { settle } = await testRunner(its);
    await settle("p", { A: "complete" });
    expect(its.ticket("p", "A")).toMatchObject({ stuck: null, retries: { work: 0 } });
    expect(its.resumed()).toEqual([false, true]);
  });

  it("is left alone where nobody wants it watched", { timeout: 60_000 }, async () => {
    const [step] = looping;
    const its = home([[{ ...step, times: 50 }, ...working]], { progressWatch: "off" });
    const { settle } = await testRunner(its);
    await settle("p", { A: "complete" });
    expect(its.resumed()).toEqual([false]);
  });
});

it("P7 checks that fail alike whatever the agent does end with a person", { timeout: 90_000 }, async () => {
  const phases = [
    { id: "work", type: "agent", promptTemplate: "work.md", onSuccess: "checks" },
    {
      id: "checks",
      type: "checks",
      commands: { test: "test ! -e work.txt || { echo FAIL adds; date +%s%N; exit 1; }" },
      onFailure: "work",
    },
  ];
  const turn = (i: number) => [{ write: { "work.txt": `try ${i}\n` } }, { stream: "claude" }];
  const its = home([1, 2, 3, 4, 5, 6].map(turn), {}, phases);
  const { settle } = await testRunner(its);
  await settle("p", { A: "needs_attention" }, 80_000);
  expect(its.ticket("p", "A").error).toMatch(/^Phase "checks" has failed 5 times in a row/);
  expect(its.resumed()).toEqual([false, true, true, true, false]);
  const prompts = its.prompts(5);
  expect(prompts[3]).toContain('Phase "checks" has failed 3 times in a row');
  expect(prompts[3]).toContain("FAIL adds");
  expect(prompts[4]).toMatch(/^\s*Earlier work/);
});
