import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { Park } from "../domain/park.ts";
import { testHome } from "../testing/home.ts";
import { agentEnvironment } from "../testing/model-server/cli-home.ts";
import { usageLimit } from "../testing/model-server/failures.ts";
import { type Cli, type Conversation, type Failure, scenario } from "../testing/model-server/script.ts";
import { startModelServer } from "../testing/model-server/server.ts";
import { testRunner } from "../testing/runner.ts";
import { tempDir } from "../testing/temp.ts";
import { until } from "../testing/until.ts";

type Provider = Exclude<Cli, "pi">;

const ids = ["A", "B", "C", "D", "E", "F", "G", "H"];

/** Tickets for real CLIs, one for each that is named, at most two at once of each. The provider answers with `failure` for as long as there is one. */
async function troubled(clis: readonly Provider[], failure: (asked: Conversation) => Failure | undefined) {
  const works = scenario([
    {
      when: /^work on (\w+)/m,
      turns: ([, id]) => [{ actions: [{ write: { path: `${id}.txt`, content: "done\n" } }] }, { text: "Wrote it." }],
    },
    { when: /^The provider ended your last run/m, turns: [{ text: "It was done already." }] },
  ]);
  const refused: Conversation[] = [];
  const served: Conversation[] = [];
  const server = await startModelServer((conversation) => {
    const trouble = failure(conversation);
    (trouble ? refused : served).push(conversation);
    return trouble ?? works(conversation);
  });
  onTestFinished(() => server.close());
  const configured = {
    claude: {
      command: "claude",
      defaultArgs: ["--dangerously-skip-permissions"],
      env: { CLAUDE_CODE_MAX_RETRIES: "0", API_TIMEOUT_MS: "3000" },
    },
    codex: { command: "codex", env: { SCRIPTED_API_KEY: "$" + "{SCRIPTED_API_KEY}" } },
  };
  const notices = join(tempDir(), "notices");
  const agents = Object.fromEntries([...new Set(clis)].map((cli) => [cli, { ...configured[cli], maxConcurrency: 2 }]));
  const home = testHome({
    config: { defaultAgent: "claude", maxConcurrency: 4, notifyCommand: `cat >> ${notices}`, agents: { ...configured, ...agents } },
  });
  for (const cli of new Set(clis))
    Object.assign(home.env, agentEnvironment(cli, server, join(home.dir, "agent"), { claudeLogin: "subscription" }));
  mkdirSync(join(home.home, "prompts"));
  writeFileSync(join(home.home, "prompts", "work.md"), "work on {{ ticketId }}\n");
  home.writeWorkflow("work.yaml", "name: work\nphases:\n  - { id: work, type: agent, promptTemplate: work.md, changes: required }\n");
  const tickets = clis.map((agent, i) => ({ ticketId: ids[i] ?? "", agent }));
  home.writePlan({ id: "p", workflow: "work" }, tickets);
  const opened = await testRunner(home);
  const parksFile = join(home.home, "state", "agents.json");
  const parkOf = (cli: Provider) =>
    existsSync(parksFile) ? (JSON.parse(readFileSync(parksFile, "utf8")) as { parks: Record<string, Park> }).parks[cli] : undefined;
  return {
    refused,
    served,
    runner: opened.runner,
    /** The park of a CLI, once it has one that `fits`. */
    parked: (cli: Provider, fits: (park: Park) => boolean = () => true): Promise<Park> =>
      until(async () => {
        await opened.runner.tick();
        const park = parkOf(cli);
        return park && fits(park) ? park : undefined;
      }, 60_000),
    /** Waits until a limit is over, and has the rest of the minute that codex told as its end pass at once. */
    async skipMinute(reset: Date | undefined) {
      const isOver = async () => {
        await opened.runner.tick();
        return Date.now() > (reset?.getTime() ?? 0) && opened.runner.running().length === 0;
      };
      await until(isOver, 30_000);
      const end = Date.parse(parkOf("codex")?.until ?? "");
      onTestFinished(() => void vi.useRealTimers());
      vi.setSystemTime(end - 100);
      for (let look = 0; look < 5; look++) await opened.runner.tick();
      expect(opened.runner.running()).toEqual([]);
      vi.setSystemTime(end + 100);
    },
    resume: (agent: Provider) => opened.runner.intend({ type: "resume-agent", agent, by: "ann" }),
    async finish() {
      await opened.settle("p", Object.fromEntries(tickets.map(({ ticketId }) => [ticketId, "complete"])), 90_000);
      for (const { ticketId } of tickets) {
        const { retries, visits, lost, phaseHistory } = home.ticket("p", ticketId);
        expect({ retries, visits, lost }).toEqual({ retries: { work: 0 }, visits: { work: 1 }, lost: {} });
        expect(phaseHistory.map(({ status }) => status)).not.toContain("failure");
      }
      const told = existsSync(notices) ? readFileSync(notices, "utf8").trim().split("\n") : [];
      return told.map((line) => JSON.parse(line) as { status: string; reason: string });
    },
  };
}

describe.each<Provider>(["claude", "codex"])("P9 with the real %s", (cli) => {
  it("a usage limit in the middle of the work: nothing is asked before its reset, and the conversation goes on", {
    timeout: 180_000,
  }, async () => {
    let reset: Date | undefined;
    const limited = await troubled([cli, cli, cli], ({ turn, promptIndex }) => {
      if (turn === 0 && promptIndex === 0 && reset === undefined) return undefined;
      // codex tells the minute alone: there is time to spare whichever it is.
      reset ??= new Date(Math.ceil((Date.now() + 8000) / 1000) * 1000 + 7);
      return Date.now() < reset.getTime() ? usageLimit(cli, reset) : undefined;
    });
    const park = await limited.parked(cli);
    expect(park).toMatchObject({ category: "usage_limit", agent: cli, times: 1 });
    expect(Date.parse(park.until)).toBeGreaterThanOrEqual(Math.floor((reset?.getTime() ?? 0) / 1000) * 1000);
    expect(limited.refused.length).toBeLessThanOrEqual(2);
    const cut = limited.refused.find(({ turn }) => turn === 1)?.sessionKey;
    if (cli === "codex") await limited.skipMinute(reset);
    expect((await limited.finish()).map(({ status }) => status)).toEqual(["agent_parked"]);
    expect(limited.refused.length).toBeLessThanOrEqual(2);
    const wentOn = limited.served.filter(({ sessionKey, prompt }) => sessionKey === cut && prompt.startsWith("The provider ended"));
    expect(wentOn).toHaveLength(1);
  });

  it.each([
    ["a refused login", "auth", { status: 401 }],
    ["an overload", "overloaded", { status: 529 }],
  ] as const)("%s: everything waits until it is mended", { timeout: 120_000 }, async (_, category, failure) => {
    let isMended = false;
    const refused = await troubled([cli, cli, cli], () => (isMended ? undefined : failure));
    expect(await refused.parked(cli)).toMatchObject({ category, agent: cli });
    isMended = true;
    expect(await refused.resume(cli)).toMatchObject({ result: "applied" });
    expect((await refused.finish()).map(({ status }) => status)).toEqual(["agent_parked"]);
  });
});

it("P9 six tickets of claude and two of codex finish, whatever claude's provider does", { timeout: 240_000 }, async () => {
  const reset = new Date(Math.ceil((Date.now() + 9000) / 1000) * 1000 + 7);
  const troubles: { what: string; category: Park["category"]; failure: Failure }[] = [
    { what: "a usage limit", category: "usage_limit", failure: usageLimit("claude", reset) },
    { what: "401", category: "auth", failure: { status: 401 } },
    { what: "529", category: "overloaded", failure: { status: 529 } },
    { what: "500", category: "unavailable", failure: { status: 500 } },
    { what: "429", category: "rate_limit", failure: { status: 429 } },
    { what: "a connection that is cut", category: "unavailable", failure: { drop: "before" } },
    { what: "an answer that breaks off", category: "unavailable", failure: { drop: "midstream" } },
    { what: "no answer", category: "unavailable", failure: { hang: true } },
    { what: "nonsense", category: "unavailable", failure: { status: 200, body: "<html>Sign in to the hotel's network</html>" } },
  ];
  let now = 0;
  const storm = await troubled(["claude", "claude", "claude", "codex", "claude", "codex", "claude", "claude"], ({ cli }) =>
    cli === "claude" ? troubles[now]?.failure : undefined,
  );
  const seen: string[] = [];
  let before = "";
  for (const { what, category } of troubles) {
    const park = await storm.parked("claude", ({ at }) => at > before);
    // The one that had begun beside it has met the same.
    await until(() => storm.runner.running().every(({ ticket }) => ticket.agent !== "claude"), 30_000);
    before = (await storm.parked("claude")).at;
    seen.push(`${what}: ${park.category}`);
    now += 1;
    // A known end is waited for; for the others somebody says that they are over.
    if (category !== "usage_limit") await storm.resume("claude");
    else expect(storm.refused.length).toBeLessThanOrEqual(2);
    if (now === 2) expect(Date.parse(park.at)).toBeGreaterThan(reset.getTime());
  }
  expect(seen).toEqual(troubles.map(({ what, category }) => `${what}: ${category}`));
  const notices = await storm.finish();
  expect(notices.filter(({ status }) => status !== "agent_parked")).toEqual([]);
  expect(storm.served.filter(({ cli }) => cli === "codex").length).toBe(4);
});
