import { execFile } from "node:child_process";
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { backgroundDaemon } from "../testing/held-home.ts";
import { testHome } from "../testing/home.ts";
import { until } from "../testing/until.ts";

const root = dirname(dirname(import.meta.dirname));

/** Installs the built program into a folder as some version of it; gives the program's path. */
function installed(dir: string, version: string): string {
  expect(existsSync(join(root, "dist/cli.js")), "the built program is installed; `npm run build` makes it").toBe(true);
  for (const part of ["bin", "dist", "workflows", "prompts", "scripts"]) cpSync(join(root, part), join(dir, part), { recursive: true });
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as object;
  writeFileSync(join(dir, "package.json"), JSON.stringify({ ...manifest, version }));
  return join(dir, "bin", "orchestrator.js");
}

it("P5 an upgrade in place: what the old program started goes on without its files, and the new one takes it up", async () => {
  const home = testHome({ config: { defaultAgent: "fake", agents: { fake: { command: "" } } } });
  const ledger = join(home.dir, "ledger");
  const go = join(home.dir, "go");
  onTestFinished(() => writeFileSync(go, ""));
  const held = (name: string, end: string) => {
    const file = join(home.dir, name);
    writeFileSync(
      file,
      `#!/bin/bash\n# Whoever started it has loaded all it needs by then.\nsleep 1\necho $0 $ORCH_TICKET >> ${ledger}\nuntil [ -e ${go} ]; do sleep 0.02; done\n${end}\n`,
    );
    chmodSync(file, 0o755);
    return file;
  };
  const config = join(home.home, "config.yaml");
  writeFileSync(config, readFileSync(config, "utf8").replace('command: ""', `command: ${held("agent", "cat > said.txt; echo done")}`));
  const one = (name: string, phase: string) =>
    home.writeWorkflow(
      `${name}.yaml`,
      `name: ${name}\nphases:\n  - { id: only, ${phase}, onSuccess: done }\n  - { id: done, type: terminal }\n`,
    );
  one("agent", "type: agent, promptTemplate: implement.md, changes: required");
  one("checks", "type: checks");
  // It fails before the change as well, which is looked up only when all is over.
  home.writePlan({ id: "p", workflow: "agent", checks: { broken: held("check", "exit 1") } }, [
    { ticketId: "AGENT" },
    { ticketId: "CHECKS", workflow: "checks" },
  ]);

  const run = (program: string, ...args: string[]) =>
    new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) => {
      execFile(process.execPath, [program, ...args], { env: home.env, cwd: home.dir }, (error, stdout, stderr) =>
        resolve({ code: error?.code ?? 0, stdout, stderr }),
      );
    });
  const oldFolder = join(home.dir, "lib", "old");
  const oldProgram = installed(oldFolder, "0.1.0-old");
  expect(await run(oldProgram, "daemon", "--detach")).toMatchObject({ code: 0, stderr: "" });
  const before = backgroundDaemon(home);
  expect(before.version).toBe("0.1.0-old");
  await until(() => existsSync(ledger) && readFileSync(ledger, "utf8").split("\n").length === 3);

  rmSync(oldFolder, { recursive: true });
  const newProgram = installed(join(home.dir, "lib", "new"), "0.2.0-new");
  const restarted = await run(newProgram, "restart");
  expect(restarted).toMatchObject({ code: 0, stderr: "" });
  const after = backgroundDaemon(home);
  expect(after).toMatchObject({ version: "0.2.0-new", daemon: { arguments: before.daemon?.arguments, ready: true } });
  expect(after.pid).not.toBe(before.pid);
  expect(["AGENT", "CHECKS"].map((id) => home.ticket("p", id).status)).toEqual(["running", "running"]);

  writeFileSync(go, "");
  await until(() => ["AGENT", "CHECKS"].every((id) => home.ticket("p", id).status === "complete"));
  expect(["AGENT", "CHECKS"].map((id) => home.ticket("p", id).phaseHistory.map(({ status }) => status))).toEqual([
    ["success"],
    ["success"],
  ]);
  const report = JSON.parse(readFileSync(join(home.home, "run/p/CHECKS/0001-only/checks.json"), "utf8")) as {
    checks: { before: unknown }[];
  };
  expect(report.checks[0]?.before).toMatchObject({ exitCode: 1 });
  expect(readFileSync(ledger, "utf8").match(/agent AGENT/g)).toHaveLength(1);
  expect(readdirSync(join(home.dir, "lib"))).toEqual(["new"]);
  expect(await run(newProgram, "stop")).toMatchObject({ code: 0 });
}, 60_000);
