import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { knownAdapters } from "../agents/adapters.ts";
import { runCli } from "../testing/daemon.ts";
import { testHome } from "../testing/home.ts";
import { commands } from "./index.ts";

const fixture = join(import.meta.dirname, "..", "agents", "fixtures", "claude-err-401.jsonl");

it("a demo with an agent that is not logged in says so and ends, with nothing left running", { timeout: 60_000 }, async () => {
  const home = testHome();
  const bin = join(home.dir, "bin");
  mkdirSync(bin);
  writeFileSync(
    join(bin, "claude"),
    `#!/bin/bash\ncase "$*" in *--help*|*--version*) exit 0;; esac\ncat > /dev/null\ncat ${fixture}\nexit 1\n`,
    { mode: 0o755 },
  );
  home.env.PATH = `${bin}:${home.env.PATH}`;
  const { code, stderr } = await runCli(home, "demo", "--agent", "claude", "--dir", join(home.dir, "demo"));
  expect(code).toBe(7);
  expect(stderr).toContain("claude cannot work: ");
  expect(stderr).toContain("log in or update it, then run the demo again");
});

it("every agent that is known can work the demo", () => {
  const options = commands.find(({ name }) => name === "demo")?.options ?? [];
  const choices = options.find(({ flags }) => flags.startsWith("--agent"))?.choices;
  expect(choices).toEqual(["scripted", ...knownAdapters.map(({ provider }) => provider)]);
});
