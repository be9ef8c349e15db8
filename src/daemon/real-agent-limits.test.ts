import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
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

/** Three tickets for a real CLI, two at once, whose provider answers with `failure` for as long as there is one. */
async function troubled(cli: Provider, failure: (asked: Conversation) => Failure | undefined) {
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
    claude: { defaultArgs: ["--dangerously-skip-permissions"], env: { CLAUDE_CODE_MAX_RETRIES: "0" } },
    codex: { defaultArgs: [], env: { SCRIPTED_API_KEY: "$" + "{SCRIPTED_API_KEY}" } },
  };
  const notices = join(tempDir(), "notices");
  const home = testHome({
    config: {
      defaultAgent: cli,
      maxConcurrency: 2,
      notifyCommand: `cat >> ${notices}`,
      agents: { [cli]: { command: cli, ...configured[cli] } },
    },
  });
  Object.assign(home.env, agentEnvironment(cli, server, join(home.dir, "agent"), { claudeLogin: "subscription" }), {
    GIT_CONFIG_GLOBAL: home.env.GIT_CONFIG_GLOBAL,
  });
  mkdirSync(join(home.home, "prompts"));
  writeFileSync(join(home.home, "prompts", "work.md"), "work on {{ ticketId }}\n");
  home.writeWorkflow("work.yaml", "name: work\nphases:\n  - { id: work, type: agent, promptTemplate: work.md, changes: required }\n");
  home.writePlan({ id: "p", workflow: "work" }, [{ ticketId: "A" }, { ticketId: "B" }, { ticketId: "C" }]);
  const opened = await testRunner(home);
  const parksFile = join(home.home, "state", "agents.json");
  return {
    refused,
    served,
    async parked(): Promise<Park> {
      return until(async () => {
        await opened.runner.tick();
        if (!existsSync(parksFile)) return undefined;
        return (JSON.parse(readFileSync(parksFile, "utf8")) as { parks: Record<string, Park> }).parks[cli];
      }, 60_000);
    },
    resume: () => opened.runner.intend({ type: "resume-agent", agent: cli, by: "ann" }),
    async finish() {
      await opened.settle("p", { A: "complete", B: "complete", C: "complete" }, 90_000);
      for (const id of ["A", "B", "C"]) {
        const { retries, visits, lost, phaseHistory } = home.ticket("p", id);
        expect({ retries, visits, lost }).toEqual({ retries: { work: 0 }, visits: { work: 1 }, lost: {} });
        expect(phaseHistory.map(({ status }) => status)).not.toContain("failure");
      }
      const told = readFileSync(notices, "utf8").trim().split("\n");
      expect(told.map((line) => (JSON.parse(line) as { status: string }).status)).toEqual(["agent_parked"]);
    },
  };
}

describe.each<Provider>(["claude", "codex"])("P9 with the real %s", (cli) => {
  it("a usage limit in the middle of the work: nothing is asked before its reset, and the conversation goes on", {
    timeout: 180_000,
  }, async () => {
    let reset: Date | undefined;
    const limited = await troubled(cli, ({ turn, promptIndex }) => {
      if (turn === 0 && promptIndex === 0 && reset === undefined) return undefined;
      // codex tells the minute alone: there is time to spare whichever it is.
      reset ??= new Date(Math.ceil((Date.now() + 8000) / 1000) * 1000 + 7);
      return Date.now() < reset.getTime() ? usageLimit(cli, reset) : undefined;
    });
    const park = await limited.parked();
    expect(park).toMatchObject({ category: "usage_limit", agent: cli, times: 1 });
    expect(Date.parse(park.until)).toBeGreaterThanOrEqual(Math.floor((reset?.getTime() ?? 0) / 1000) * 1000);
    expect(limited.refused.length).toBeLessThanOrEqual(2);
    const cut = limited.refused.find(({ turn }) => turn === 1)?.sessionKey;
    await limited.finish();
    expect(limited.refused.length).toBeLessThanOrEqual(2);
    const wentOn = limited.served.filter(({ sessionKey, prompt }) => sessionKey === cut && prompt.startsWith("The provider ended"));
    expect(wentOn).toHaveLength(1);
  });

  it.each([
    ["a refused login", "auth", { status: 401 }],
    ["an overload", "overloaded", { status: 529 }],
  ] as const)("%s: everything waits until it is mended", { timeout: 120_000 }, async (_, category, failure) => {
    let isMended = false;
    const refused = await troubled(cli, () => (isMended ? undefined : failure));
    expect(await refused.parked()).toMatchObject({ category, agent: cli });
    isMended = true;
    expect(await refused.resume()).toMatchObject({ result: "applied" });
    await refused.finish();
  });
});
