import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import type { PhaseOf } from "../domain/workflow.ts";
import { openRepo } from "../git/git.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { exitRecord, phaseContext, specOf } from "../testing/phase-context.ts";
import { checkCommands } from "./check-commands.ts";
import type { CheckReport } from "./check-report.ts";
import { checks } from "./checks.ts";

let home: TestHome;
let tree: string;
beforeEach(() => {
  home = testHome();
  tree = join(home.dir, "worktrees", "T1");
});

/** Runs a checks phase on a worktree that `edit` changed, through the real checks-runner, and settles it. */
async function run(commands: Record<string, string | string[]>, edit: () => void = () => {}, env: Record<string, string> = {}) {
  const context = phaseContext<PhaseOf<"checks">>(home, { type: "checks", id: "checks", commands, env });
  const start = await checks.start(context);
  if (start.kind === "news") return { event: start.event, report: undefined };
  const spec = specOf(start);
  writeFileSync(join(context.runDir, "spec.json"), JSON.stringify(spec));
  edit();
  const child = spawn(spec.argv[0] ?? "", spec.argv.slice(1), { cwd: spec.cwd, env: start.env, stdio: ["ignore", "pipe", "pipe"] });
  let stdoutTail = "";
  child.stdout.on("data", (chunk) => {
    stdoutTail += String(chunk);
  });
  const [exitCode] = (await once(child, "close")) as [number];
  const event = await checks.settle(context, spec, exitRecord({ exitCode, stdoutTail }));
  return { event, report: JSON.parse(readFileSync(join(context.runDir, "checks.json"), "utf8")) as CheckReport };
}

const breakIt = () => writeFileSync(join(tree, "README.md"), "broken\n");

describe("P8 the checks of a change", () => {
  it("fail for what passed before, and clear away where they looked", async () => {
    const { event, report } = await run({ good: "true", old: "test -e never", new: "echo why; grep -q project README.md" }, breakIt);
    expect(event).toMatchObject({
      type: "failed",
      category: "test",
      reason: "New failures in new.",
      feedback: expect.stringContaining("why"),
    });
    expect(report?.checks.map(({ name, exitCode, before }) => [name, exitCode, before?.exitCode])).toEqual([
      ["good", 0, undefined],
      ["old", 1, 1],
      ["new", 1, 0],
    ]);
    expect(readdirSync(join(home.dir, "worktrees")).filter((name) => !name.startsWith(".trash-"))).toEqual(["T1"]);
    expect(home.git("worktree", "list").split("\n")).toHaveLength(2);
  });

  it("have what is installed before the change too, so that its lack hides nothing", async () => {
    const install = () => {
      mkdirSync(join(tree, "node_modules"));
      writeFileSync(join(tree, "node_modules", "tool"), "");
      breakIt();
    };
    const { report } = await run({ test: "test -e node_modules/tool && grep -q project README.md" }, install);
    expect(report?.newFailures).toEqual(["test"]);
    expect(existsSync(join(tree, "node_modules", "tool"))).toBe(true);
  });

  it("pass with old failures alone, and know them the next time", async () => {
    expect(await run({ old: `echo x >> ${home.dir}/runs; false` })).toMatchObject({ event: { type: "passed" } });
    expect(await run({ old: `echo x >> ${home.dir}/runs; false` })).toMatchObject({ event: { type: "passed" } });
    expect(readFileSync(join(home.dir, "runs"), "utf8")).toBe("x\nx\nx\n");
  });

  it.each([
    ["could not be run", "test -e installed || exit 127; exit 1"],
    ["was killed", "test -e installed || kill -9 $$; exit 1"],
  ])("count a check that %s before the change as new", async (_, test) => {
    const install = () => writeFileSync(join(tree, "installed"), "");
    expect(await run({ test }, install)).toMatchObject({ event: { type: "failed", category: "test" } });
    expect(existsSync(join(home.home, "cache", "checks"))).toBe(false);
  });

  it("are a matter of the environment when they cannot be run", async () => {
    expect(await run({ test: ["no-such-program"] })).toMatchObject({ event: { type: "failed", category: "environment" } });
  });

  it("P6 meet nothing that an earlier check left running", async () => {
    const server = `(setsid flock -n ${home.dir}/port sleep 300 &) ; sleep 0.1`;
    const needsPort = `flock -n ${home.dir}/port true || exit 3; ${server}; grep -q project README.md`;
    const { event, report } = await run({ first: server, second: needsPort }, breakIt);
    expect(report?.checks.map(({ exitCode, before }) => [exitCode, before?.exitCode])).toEqual([
      [0, undefined],
      [1, 0],
    ]);
    expect(event).toMatchObject({ type: "failed", category: "test" });
  });

  it("P12 write down no secret, and the whole end of the output", async () => {
    const command = "seq 1 2000; echo password is $DB_PASSWORD; grep -q project README.md";
    const { event, report } = await run({ test: command }, breakIt, { DB_PASSWORD: "hunter2-hunter2" });
    expect(report?.checks[0]?.tail).toMatch(/\n2000\npassword is \[redacted\]\n$/);
    expect(JSON.stringify([report, "feedback" in event ? event.feedback : ""])).not.toContain("hunter2");
  });

  it("pass where there are none", async () => {
    expect(await run({})).toMatchObject({ event: { type: "passed", output: expect.stringContaining("There are no checks") } });
  });
});

describe("which checks apply", () => {
  const commandsOf = async (phase: object, plan: object, config: object) => {
    const context = phaseContext<PhaseOf<"checks">>(home, { type: "checks", id: "checks", ...phase }, { plan });
    return checkCommands(context.phase, context.plan, { ...context.config, ...config }, await openRepo(home.repo), "HEAD");
  };
  const shell = (name: string) => [{ name, argv: ["bash", "-c", `run ${name}`] }];

  it("the phase's, else the plan's, else the configuration's", async () => {
    const all = [{ commands: { phase: "run phase" } }, { checks: { plan: "run plan" } }, { checks: { config: "run config" } }] as const;
    expect(await commandsOf(all[0], all[1], all[2])).toEqual(shell("phase"));
    expect(await commandsOf({}, all[1], all[2])).toEqual(shell("plan"));
    expect(await commandsOf({}, {}, all[2])).toEqual(shell("config"));
    expect(await commandsOf({}, {}, {})).toEqual([]);
  });

  it.each([
    ["{}", [], []],
    ["not JSON", [], []],
    ['{"scripts": null}', [], []],
    ['{"scripts": {"test": "vitest", "lint": "biome", "build": "tsc"}}', [], ["npm run lint", "npm run test"]],
    ['{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}', [], []],
    ['{"scripts": {"test": "vitest"}}', ["pnpm-lock.yaml"], ["pnpm run test"]],
    ['{"scripts": {"test": "vitest"}}', ["yarn.lock"], ["yarn run test"]],
  ])("else those of a package.json %s beside %o: %o", async (text, others, expected) => {
    for (const [name, content] of [["package.json", text], ...others.map((name) => [name, ""])])
      writeFileSync(join(home.repo, name ?? ""), content ?? "");
    home.git("add", "-A");
    home.git("commit", "-qm", "package");
    expect((await commandsOf({}, {}, {})).map(({ argv }) => argv.join(" "))).toEqual(expected);
  });
});
