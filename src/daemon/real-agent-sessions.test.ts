import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, globSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { adapterFor } from "../agents/adapters.ts";
import type { Session } from "../domain/session.ts";
import { testHome } from "../testing/home.ts";
import { agentEnvironment } from "../testing/model-server/cli-home.ts";
import { type Cli, scenario } from "../testing/model-server/script.ts";
import { startModelServer } from "../testing/model-server/server.ts";
import { testRunner } from "../testing/runner.ts";
import { until } from "../testing/until.ts";

describe.each<Cli>(["claude", "codex", "pi"])("killed runs of the real %s", (cli) => {
  it("P5 go on in their session; with the transcript gone or in use they begin a new one with a digest", { timeout: 180_000 }, async () => {
    const home = testHome({
      config: {
        defaultAgent: cli,
        maxConcurrency: 3,
        agents: {
          [cli]: {
            command: cli,
            defaultArgs: cli === "claude" ? ["--dangerously-skip-permissions"] : [],
            env: cli === "codex" ? { SCRIPTED_API_KEY: "$" + "{SCRIPTED_API_KEY}" } : {},
          },
        },
      },
    });
    const hold = join(home.dir, "hold");
    writeFileSync(hold, "");
    const server = await startModelServer(
      scenario([
        {
          when: /^# (\w): /m,
          turns: ([, ticket]) => [
            { text: "I write first.", actions: [{ write: { path: `${ticket}.txt`, content: "half\n" } }] },
            { actions: [{ bash: `touch begun; while [ -e ${hold} ]; do sleep 0.1; done` }] },
            { text: "Done." },
          ],
        },
      ]),
    );
    onTestFinished(() => server.close());
    const env = agentEnvironment(cli, server, join(home.dir, "agent"));
    Object.assign(home.env, env, { GIT_CONFIG_GLOBAL: home.env.GIT_CONFIG_GLOBAL });
    home.writeWorkflow("work.yaml", "name: work\nphases:\n  - { id: work, type: agent, promptTemplate: implement.md }\n");
    const ids = ["A", "B", "C"];
    home.writePlan(
      { id: "p", workflow: "work" },
      ids.map((ticketId) => ({ ticketId })),
    );
    const { runner, settle } = await testRunner(home);
    const ticking = (done: () => boolean) =>
      until(async () => {
        await runner.tick();
        return done();
      }, 90_000);
    await ticking(() => ids.every((id) => existsSync(join(home.dir, "worktrees", "p", id, "begun"))));
    await ticking(() => ids.every((id) => home.ticket("p", id).currentSession !== null));
    const sessions = new Map(ids.map((id) => [id, home.ticket("p", id).currentSession as Session]));
    runner.setDispatching(false);
    for (const id of ids) {
      const claim = JSON.parse(readFileSync(join(home.home, "run", "p", id, "0001-work", "claim.json"), "utf8")) as { pid: number };
      process.kill(claim.pid, "SIGKILL");
    }
    await ticking(() => ids.every((id) => home.ticket("p", id).activity.state === "ready"));
    const place = adapterFor(cli, cli).transcript?.(sessions.get("B") as Session, env);
    const found = globSync(place?.glob ?? "", { cwd: place?.dir ?? "" });
    expect(found).toHaveLength(1);
    rmSync(join(place?.dir ?? "", found[0] ?? ""));
    await openElsewhere(sessions.get("C") as Session);
    rmSync(hold);
    runner.setDispatching(true);
    await settle("p", { A: "complete", B: "complete", C: "complete" }, 90_000);

    for (const id of ids) {
      const { phaseHistory, retries } = home.ticket("p", id);
      expect(phaseHistory.map(({ status }) => status)).toEqual(["lost", "success"]);
      expect(retries).toEqual({ work: 0 });
      expect(phaseHistory[1]?.session?.id === sessions.get(id)?.id).toBe(id === "A");
      const last = server.requests.findLast(({ conversation }) => conversation?.prompt.includes(`# ${id}: `))?.conversation;
      expect(last?.prompt.includes(id === "A" ? "You were interrupted" : "## What was done before")).toBe(true);
      if (id === "A") expect(last?.promptIndex).toBeGreaterThanOrEqual(1);
      else expect(last?.prompt).toMatch(/Its last steps, quoted:[\s\S]*What it said last, quoted:[\s\S]*I write first/);
    }
  });
});

/** A process that looks as if a person had opened the conversation. */
async function openElsewhere({ id, path }: Session): Promise<void> {
  const child: ChildProcess = spawn(process.execPath, ["-e", "process.stdin.resume()", "--", path ?? id], {
    stdio: ["pipe", "ignore", "ignore"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  await until(() => readFileSync(`/proc/${child.pid}/cmdline`, "utf8").includes(path ?? id));
}
