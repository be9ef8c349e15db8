import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, it, onTestFinished } from "vitest";
import { processesWith } from "../processes.ts";
import { tempDir } from "../temp.ts";
import { agentEnvironment, type ClaudeLogin } from "./cli-home.ts";
import { usageLimit } from "./failures.ts";
import { type Cli, type Script, scenario } from "./script.ts";
import { type ModelServer, startModelServer } from "./server.ts";

const argumentsFor: Record<Cli, (session: string, resume: boolean) => string[]> = {
  claude: (session, resume) => [
    ...["-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"],
    ...["--setting-sources", "user", "--strict-mcp-config", "--tools", "Bash,Edit,Read,Write"],
    ...[resume ? "--resume" : "--session-id", session],
  ],
  codex: (session, resume) => ["exec", "--json", "--dangerously-bypass-approvals-and-sandbox", ...(resume ? ["resume", session] : []), "-"],
  pi: (session) => ["-p", "--mode", "json", "--session", session, "-ne", "-ns", "-np", "-nc"],
};

interface Bench {
  server: ModelServer;
  repo: string;
  git(...args: string[]): Promise<string>;
  run(prompt: string, session: string, resume?: boolean): Promise<{ exitCode: number | undefined; lines: Line[] }>;
}

/** What these tests read of a line, whichever CLI wrote it. */
interface Line {
  type: string;
  thread_id?: string;
  result?: string;
  item?: { type: string; text?: string };
  messages?: { content: { text?: string }[] }[];
}

/** A repository with one commit, a server and a way to run the CLI between them. Nothing of it outlives the test. */
async function bench(cli: Cli, script: Script, options: { claudeLogin?: ClaudeLogin; args?: string[] } = {}): Promise<Bench> {
  const server = await startModelServer(script);
  onTestFinished(() => server.close());
  const dir = tempDir();
  const repo = join(dir, "repo");
  const marker = randomUUID();
  const env = { ...agentEnvironment(cli, server, dir, options), TEST_MARKER: marker };
  mkdirSync(repo);
  writeFileSync(join(repo, "seed.txt"), "seed\n");
  const git = async (...args: string[]) => (await execa("git", args, { cwd: repo, env, extendEnv: false })).stdout;
  await git("init", "-q");
  await git("add", "-A");
  await git("commit", "-qm", "init");
  return {
    server,
    repo,
    git,
    run: async (prompt, session, resume = false) => {
      const out = join(dir, "out.jsonl");
      const { exitCode } = await execa(cli, [...argumentsFor[cli](session, resume), ...(options.args ?? [])], {
        cwd: repo,
        env,
        extendEnv: false,
        input: prompt,
        stdout: { file: out },
        stderr: { file: join(dir, "err.txt") },
        timeout: 60_000,
        forceKillAfterDelay: 1_000,
        reject: false,
      });
      expect(processesWith(`TEST_MARKER=${marker}`)).toEqual([]);
      const lines = readFileSync(out, "utf8").split("\n").filter(Boolean);
      return { exitCode, lines: lines.map((line) => JSON.parse(line) as Line) };
    },
  };
}

/** The last thing the agent said. */
const finalText: Record<Cli, (lines: Line[]) => unknown> = {
  claude: (lines) => lines.findLast((line) => line.type === "result")?.result,
  codex: (lines) => lines.findLast((line) => line.item?.type === "agent_message")?.item?.text,
  pi: (lines) =>
    lines
      .findLast((line) => line.type === "agent_end")
      ?.messages?.at(-1)
      ?.content.at(-1)?.text,
};

/** pi names its sessions by file, claude by a new id; codex tells its own. */
function newSession(cli: Cli, repo: string): string {
  return cli === "pi" ? join(repo, "..", "session.jsonl") : randomUUID();
}

function sessionOf(cli: Cli, session: string, lines: Line[]): string {
  return cli === "codex" ? String(lines[0]?.thread_id) : session;
}

const twice = scenario([
  {
    when: /write hello for (?<name>[\w-]+)/,
    turns: ({ groups }) => [
      { text: "I will write a file.", actions: [{ write: { path: "docs/hello.txt", content: `it's ${groups?.name}\n$HOME "x"\n` } }] },
      { actions: [{ write: { path: "seed.txt", content: "overwritten\n" } }] },
      { actions: [{ bash: "git add -A" }, { bash: "git commit -qm 'add hello'" }] },
      { text: "VERDICT: PASS" },
    ],
  },
  { when: /now change it/, turns: [{ actions: [{ write: { path: "docs/hello.txt", content: "changed\n" } }] }, { text: "changed" }] },
]);

describe.each(["claude", "codex", "pi"] as const)("%s", (cli) => {
  it("writes, runs commands and answers as scripted, and goes on in a resumed session", async () => {
    const { server, repo, git, run } = await bench(cli, twice);
    const session = newSession(cli, repo);

    const first = await run(`Please write hello for T-1.\n\nTwo lines.`, session);
    expect({ exitCode: first.exitCode, text: finalText[cli](first.lines) }).toEqual({ exitCode: 0, text: "VERDICT: PASS" });
    expect(await git("show", "HEAD:docs/hello.txt")).toBe('it\'s T-1\n$HOME "x"');
    expect(await git("show", "HEAD:seed.txt")).toBe("overwritten");
    expect(await git("log", "-1", "--format=%an %s")).toBe("Scripted Agent add hello");
    expect(await git("status", "--porcelain")).toBe("");

    const second = await run("now change it", sessionOf(cli, session, first.lines), true);
    expect({ exitCode: second.exitCode, text: finalText[cli](second.lines) }).toEqual({ exitCode: 0, text: "changed" });
    expect(readFileSync(join(repo, "docs/hello.txt"), "utf8")).toBe("changed\n");

    const asked = server.requests.flatMap((each) => (each.conversation ? [each] : []));
    expect(
      asked.map(({ conversation }) => [conversation?.cli, conversation?.promptIndex, conversation?.turn, conversation?.attempt]),
    ).toEqual([
      [cli, 0, 0, 0],
      [cli, 0, 1, 0],
      [cli, 0, 2, 0],
      [cli, 0, 3, 0],
      [cli, 1, 0, 0],
      [cli, 1, 1, 0],
    ]);
    expect(asked[0]?.conversation?.prompt.trim()).toBe("Please write hello for T-1.\n\nTwo lines.");
    expect(asked[4]?.body).toContain("VERDICT: PASS");
    expect(new Set(asked.map(({ conversation }) => conversation?.sessionKey)).size).toBe(cli === "pi" ? 2 : 1);
  }, 150_000);

  it("passes on a failure of the provider", async () => {
    const { server, repo, run } = await bench(cli, scenario([{ when: /go/, turns: [{ status: 500 }] }]));
    const { exitCode, lines } = await run("go", newSession(cli, repo));
    expect(exitCode).toBe(cli === "pi" ? 0 : 1);
    expect(JSON.stringify(lines)).toMatch(cli === "codex" ? "turn.failed" : "scripted failure 500");
    expect(server.requests.filter((each) => each.conversation).length).toBe(1);
  }, 150_000);

  it("reaches its usage limit", async () => {
    const resetsAt = new Date("2033-05-18T03:33:20Z");
    const { repo, run } = await bench(cli, () => usageLimit(cli, resetsAt), { claudeLogin: "subscription" });
    const { exitCode, lines } = await run("go", newSession(cli, repo));
    expect(exitCode).toBe(cli === "pi" ? 0 : 1);
    const message = {
      claude: '"resetsAt":2000000000',
      codex: "hit your usage limit",
      pi: "You have reached your specified API usage limits",
    };
    expect(JSON.stringify(lines)).toContain(message[cli]);
  }, 150_000);
});

it("codex runs commands through JavaScript, too, as models do that it knows", async () => {
  const { repo, run } = await bench("codex", twice, { args: ["-m", "gpt-6.1-sol"] });
  const { exitCode, lines } = await run("now change it", "");
  expect({ exitCode, text: finalText.codex(lines) }).toEqual({ exitCode: 0, text: "changed" });
  expect(readFileSync(join(repo, "docs/hello.txt"), "utf8")).toBe("changed\n");
}, 150_000);
