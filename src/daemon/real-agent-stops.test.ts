import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { adapterFor } from "../agents/adapters.ts";
import type { AgentRequest } from "../agents/agent.ts";
import type { RunRef, RunSpec } from "../domain/run.ts";
import type { Session } from "../domain/session.ts";
import { findIsolation, type Isolation } from "../executors/isolation.ts";
import { createLocalExecutor } from "../executors/local.ts";
import { agentEnvironment } from "../testing/model-server/cli-home.ts";
import { type Cli, scenario } from "../testing/model-server/script.ts";
import { startModelServer } from "../testing/model-server/server.ts";
import { tempDir } from "../testing/temp.ts";
import { until } from "../testing/until.ts";

const nothing: Isolation = { kind: "none", prefix: [], reason: null };
const best = await findIsolation("auto");

/** A tool that has begun, and would work on in a session of its own. */
const script = () =>
  scenario([
    { when: /^Work long/m, turns: [{ actions: [{ bash: "touch begun; setsid -w sleep 600" }] }, { text: "It took long." }] },
    { when: /^What did you do/m, turns: [{ text: "I was interrupted." }] },
  ]);

describe.each<Cli>(["claude", "codex", "pi"])("a stop in the middle of a tool of the real %s", (cli) => {
  it.each([nothing, best])(
    "P6 ends it by its own signal within the grace, and its session goes on: $kind",
    { timeout: 120_000 },
    async (isolation) => {
      const server = await startModelServer(script());
      onTestFinished(() => server.close());
      const dir = tempDir();
      const cwd = join(dir, "repo");
      mkdirSync(cwd);
      const executor = createLocalExecutor(
        ({ runId }) => join(dir, "run", runId),
        async () => isolation,
      );
      onTestFinished(() => executor.close());
      const adapter = adapterFor(cli, cli);
      const base = agentEnvironment(cli, server, join(dir, "agent"));

      const submit = async (runId: string, session: AgentRequest["session"], prompt: string): Promise<RunRef> => {
        const command = adapter.command({
          command: cli,
          cwd,
          session,
          readOnly: false,
          defaultArgs: cli === "claude" ? ["--dangerously-skip-permissions"] : [],
          runDir: join(dir, "run", runId),
          isRoot: true,
        });
        const env: Record<string, string> = { ...base, ...command.env };
        const spec: RunSpec = {
          schema: 1,
          ...{ planId: "p", ticketId: "T1", runId, phase: "implement", phaseType: "agent", argv: command.argv, cwd },
          envNames: Object.keys(env),
          stdin: "prompt",
          stdout: command.stdout,
          reader: adapter.provider,
          wallMs: 100_000,
          idleMs: null,
          keepBytes: 1024 ** 2,
          // So long a grace that a stop which needed it fails the test.
          stop: { ...command.stop, graceMs: 60_000 },
          data: {},
        };
        await executor.submit(spec, env, `${command.stdinPrefix}${prompt}`);
        return spec;
      };
      const ended = (ref: RunRef) =>
        until(async () => {
          const now = await executor.observe(ref);
          return now.state === "finished" ? now.exit : undefined;
        }, 60_000);

      const first = await submit("1", { kind: "new", id: crypto.randomUUID() }, "Work long.\n");
      await until(() => existsSync(join(cwd, "begun")), 60_000);
      const asked = performance.now();
      await executor.cancel(first);
      const exit = await ended(first);
      expect(performance.now() - asked).toBeLessThan(30_000);
      expect(exit).toMatchObject({ end: "stopped", survivors: [] });
      expect(exit.signal).not.toBe("SIGKILL");
      expect(processesIn(cwd)).toEqual([]);
      const session = JSON.parse(readFileSync(join(dir, "run", "1", "session.json"), "utf8")) as Session;

      const again = await ended(await submit("2", { kind: "resume", session }, "What did you do?"));
      expect(again).toMatchObject({ end: "exited", exitCode: 0, agent: { finalText: "I was interrupted.", failure: null, session } });
      // claude keeps the interruption itself as a prompt.
      const last = server.requests.findLast(({ conversation }) => conversation)?.conversation;
      expect(last?.promptIndex).toBeGreaterThanOrEqual(1);
    },
  );
});

function processesIn(dir: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/cwd`) === dir;
    } catch {
      return false;
    }
  });
}
