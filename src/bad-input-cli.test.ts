import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runCli, startDaemon } from "./testing/daemon.ts";
import { builtPrograms, type TestHome, testHome } from "./testing/home.ts";
import { runHere } from "./testing/run-here.ts";
import { until } from "./testing/until.ts";

const { program } = builtPrograms();

const flow = `name: one
phases:
  - { id: work, type: script, command: work.sh, onSuccess: done }
  - { id: done, type: terminal }
`;

function cliHome(): TestHome {
  const home = testHome();
  home.writeWorkflow("one.yaml", flow);
  home.writeScript("work.sh", `while [ -e ${home.dir}/hold ]; do sleep 0.02; done\n`);
  home.writePlan({ id: "auth", workflow: "one" }, [{ ticketId: "LOGIN" }, { ticketId: "LOGOUT" }]);
  return home;
}

/** Runs a command line: in this process, except for those that are there to work tickets. */
async function cli(home: TestHome, ...args: string[]): Promise<{ code: number | null; said: string }> {
  const isWorker = args[0] === "daemon" || args[0] === "tick";
  const { code, stdout, stderr } = await (isWorker ? runCli(home, ...args) : runHere({ env: home.env, cwd: home.dir }, ...args));
  return { code, said: (stderr + stdout).replaceAll(home.dir, "DIR") };
}

/** Runs a line of bash that finds node and the program in `$node` and `$program`. */
function shell(home: TestHome, line: string, env: Record<string, string>): Promise<{ code: number | null; said: string }> {
  return new Promise((resolve) => {
    const child = spawn("/bin/bash", ["-o", "pipefail", "-c", line], {
      cwd: home.dir,
      env: { ...env, node: process.execPath, program },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        said += String(chunk);
      });
    }
    child.once("close", (code) => resolve({ code, said: said.replaceAll(home.dir, "DIR") }));
  });
}

const run = '"$node" "$program"';

describe("45 46 49 command lines", () => {
  it.each<[string[], number, string]>([
    [["why", "auht", "LOGIN"], 3, 'There is no plan "auht".\nhint:  did you mean "auth"?'],
    [["why", "auth", "LOGNI"], 3, 'Plan "auth" has no ticket "LOGNI".\nhint:  did you mean "LOGIN"?'],
    [["skip", "auth", "LOGIN", "wrok"], 3, 'has no phase "wrok".\nhint:  did you mean "work"?'],
    [["stauts"], 2, "did you mean status?"],
    [["daemon", "--concurrency", "abc"], 2, "It has to be a whole number from 1 to 64."],
    [["daemon", "--concurrency", "0"], 2, "It has to be a whole number from 1 to 64."],
    [["daemon", "--concurrency", "1e3"], 2, "It has to be a whole number from 1 to 64."],
    [["daemon", "--agent", "nobody"], 3, 'defines no agent "nobody"'],
    [["why", "a b", "LOGIN"], 2, '"a b" is not a plan'],
    [["why", "..", "LOGIN"], 2, '".." is not a plan'],
    [["why", "auth", "../LOGIN"], 2, '"../LOGIN" is not a ticket id'],
    [["why", "auth", "*"], 2, '"*" is not a ticket id'],
    [["pause", "auth", "LOGIN\n"], 2, '"LOGIN\\n" is not a ticket id'],
    [["status", "--plan", "../../etc"], 2, '"../../etc" is not a plan id'],
    [["status", "--config", "nowhere.yaml"], 3, "There is no configuration file DIR/nowhere.yaml."],
  ])("%j ends with %i", async (args, code, words) => {
    const answer = await cli(cliHome(), ...args);
    expect(answer.said).toContain(words);
    expect(answer.code).toBe(code);
  });

  it("an error is JSON for whoever asked for JSON", async () => {
    const { code, stdout } = await runCli(cliHome(), "why", "auht", "LOGIN", "--json");
    expect(code).toBe(3);
    expect(JSON.parse(stdout)).toEqual({
      apiVersion: "1",
      error: { code: "notFound", message: 'There is no plan "auht".', hint: expect.stringContaining("auth") },
    });
  });
});

describe("47 48 what makes no sense now", () => {
  it("is refused with the reason, and changes nothing", async () => {
    const home = cliHome();
    writeFileSync(join(home.dir, "hold"), "");
    const daemon = await startDaemon(home);
    await until(() => home.ticket("auth", "LOGIN").status === "running");
    for (const [args, words] of [
      [["resume", "auth", "LOGIN"], "is not paused"],
      [["retry", "auth", "LOGIN"], "is running"],
      [["approve", "auth", "LOGIN"], "is not waiting for an approval"],
      [["resume-plan", "auth"], 'Plan "auth" is not paused.'],
      [["daemon"], `already running for DIR/home (pid ${daemon.pid}, since 20`],
      [["tick"], `already running for DIR/home (pid ${daemon.pid}, since 20`],
    ] as const) {
      const answer = await cli(home, ...args);
      expect(answer).toEqual({ code: 4, said: expect.stringContaining(words) });
    }
    expect((await cli(home, "pause", "auth", "LOGOUT")).code).toBe(0);
    expect(await cli(home, "pause", "auth", "LOGOUT")).toEqual({ code: 4, said: expect.stringContaining("is already paused by") });
    rmSync(join(home.dir, "hold"));
    await until(() => home.ticket("auth", "LOGIN").status === "complete");
    expect(await cli(home, "retry", "auth", "LOGIN")).toEqual({ code: 4, said: expect.stringContaining("is complete") });
    expect(await daemon.end("SIGTERM")).toBe(0);
  });
});

describe("50 52 the world around a command", () => {
  it("output that nobody reads any more ends it quietly", async () => {
    const home = cliHome();
    // More than a pipe holds.
    const many = Array.from({ length: 800 }, (_, i) => ({ ticketId: `T${i}`, title: "A title that fills its line. ".repeat(3) }));
    home.writePlan({ id: "many", workflow: "one" }, many);
    for (const command of ["status", "status --json", "check --json"]) {
      const answer = await shell(home, `${run} ${command} | head -n 1 > first; cat first`, home.env);
      expect(answer.said.trim().split("\n")).toHaveLength(1);
      expect(answer.said).not.toContain("EPIPE");
    }
  });

  it("a folder that was deleted under the shell is named in one line", async () => {
    const home = cliHome();
    mkdirSync(join(home.dir, "gone"));
    const answer = await shell(home, `cd gone && rmdir ../gone && ${run} status`, home.env);
    expect(answer.code).toBe(1);
    expect(answer.said).toMatch(
      /^(shell-init.*\n)?error: .*uv_cwd\nhint: {2}the folder you are in does not exist any more; go to another one\n$/,
    );
  });

  it("without HOME it works with the home that the system knows, and ORCHESTRATOR_HOME alone is enough", async () => {
    const home = cliHome();
    const { HOME: _, ...env } = home.env;
    expect(await shell(home, `${run} status`, env)).toEqual({ code: 0, said: expect.stringContaining("auth") });
  });

  it("a home in which nothing can be made is named in one line with what to check", async () => {
    const home = cliHome();
    rmSync(join(home.home, "lock"), { recursive: true, force: true });
    writeFileSync(join(home.home, "lock"), "");
    const before = readFileSync(join(home.home, "state/plans/auth/tickets/LOGIN.json"), "utf8");
    for (const command of [["tick"], ["daemon"], ["pause", "auth", "LOGIN"]]) {
      const answer = await cli(home, ...command);
      expect(answer).toEqual({ code: 1, said: expect.stringMatching(/^error: E\w+: .*DIR\/home\/lock.*\nhint: {2}check this path/) });
    }
    expect(readFileSync(join(home.home, "state/plans/auth/tickets/LOGIN.json"), "utf8")).toBe(before);
  });
});
