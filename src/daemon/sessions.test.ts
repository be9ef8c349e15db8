import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startDaemon } from "../testing/daemon.ts";
import { testHome } from "../testing/home.ts";
import { until } from "../testing/until.ts";

const session = "11111111-2222-4333-8444-555555555555";

/** Says who it is, as claude does, then works for as long as a file stands. */
const claude = (hold: string) => `#!/bin/bash
[[ "$*" == *--help || "$*" == *--version ]] && exit 1
cat > /dev/null
echo '{"type":"system","subtype":"init","session_id":"${session}","model":"m","tools":[]}'
while [ -e ${hold} ]; do sleep 0.02; done
echo '{"type":"result","subtype":"success","is_error":false,"result":"done","session_id":"${session}","usage":{"input_tokens":1,"output_tokens":1},"total_cost_usd":0}'
`;

it("P5 a session is known while its run goes on, and stays known when daemon and run are killed", async () => {
  const home = testHome({
    config: { defaultAgent: "claude", agents: { claude: { command: "claude", defaultArgs: ["--dangerously-skip-permissions"] } } },
  });
  const bin = join(home.dir, "bin");
  const hold = join(home.dir, "hold");
  mkdirSync(bin);
  writeFileSync(hold, "");
  writeFileSync(join(bin, "claude"), claude(hold));
  chmodSync(join(bin, "claude"), 0o755);
  home.env.PATH = `${bin}:${home.env.PATH}`;
  home.writeWorkflow(
    "talk.yaml",
    "name: talk\nphases:\n  - { id: talk, type: agent, promptTemplate: simplify.md, onSuccess: done }\n  - { id: done, type: terminal }\n",
  );
  home.writePlan({ id: "p", workflow: "talk" }, [{ ticketId: "A", description: "talk" }]);
  const first = await startDaemon(home);
  await until(() => home.ticket("p", "A").currentSession?.id === session);
  const claim = JSON.parse(readFileSync(join(home.home, "run/p/A/0001-talk/claim.json"), "utf8")) as { pid: number };
  await first.end("SIGKILL");
  process.kill(claim.pid, "SIGKILL");
  await startDaemon(home);
  await until(() => home.ticket("p", "A").phaseHistory.length === 1);
  expect(home.ticket("p", "A").phaseHistory[0]).toMatchObject({ status: "lost", session: { id: session, provider: "claude" } });
  rmSync(hold);
  await until(() => home.ticket("p", "A").status === "complete");
  // The run after a lost one is told so.
  expect(readFileSync(join(home.home, "run/p/A/0002-talk/prompt.md"), "utf8")).toContain("was interrupted");
});
