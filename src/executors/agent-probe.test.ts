import { mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { adapterFor } from "../agents/adapters.ts";
import { capabilitiesOf, incompatibility } from "../agents/cli-facts.ts";
import { probesDir } from "../state/layout.ts";
import { tempDir } from "../testing/temp.ts";
import { installCli, type Release } from "../testing/versioned-cli.ts";
import { forgetProbes, probeAgent } from "./agent-probe.ts";

const recorded = (name: string) => readFileSync(new URL(`../agents/fixtures/help/${name}.txt`, import.meta.url), "utf8");
const claude: Release = { name: "claude", version: "2.1.197 (Claude Code)", help: recorded("claude-2.1.197"), hidden: ["--max-turns"] };
const codex: Release = { name: "codex", version: "codex-cli 0.169.0", help: recorded("codex-exec-0.169.0") };

/** An empty machine with these CLIs, and a way to probe one. */
function machine(...releases: Release[]) {
  const dir = tempDir();
  const [bin, home] = [join(dir, "bin"), join(dir, "home")];
  for (const path of [bin, home]) mkdirSync(path);
  const [cli] = releases.map((release) => installCli(bin, release));
  const probe = (command: string, defaultArgs: string[] = []) =>
    probeAgent({ adapter: adapterFor(command, command), command, defaultArgs, env: { PATH: bin }, cwd: dir, home });
  const kept = () => readdirSync(probesDir(home)).map((name) => join(probesDir(home), name));
  return { dir, bin, home, probe, kept, asked: () => (cli?.argvs() ?? []).map((argv) => argv.join(" ")) };
}

describe("an agent's program", () => {
  it("is asked once, however many want to know, and tries what its help does not name", async () => {
    const { probe, asked, bin, kept } = machine(claude);
    const [first] = await Promise.all([probe("claude"), probe("claude"), probe("claude")]);
    expect(first).toMatchObject({ program: join(bin, "claude"), cli: { version: "2.1.197", tried: { "--max-turns": true } } });
    expect(await probe("claude")).toEqual(first);
    expect(asked().sort()).toEqual(["--help", "--version", "-p --max-turns x --orchestrator-probe"]);
    expect(kept().map((file) => statSync(file).mode & 0o777)).toEqual([0o600]);
  });

  it("is asked for configured flags that its help does not name, all at once and each of them once", async () => {
    const { probe, asked } = machine(codex);
    await probe("codex");
    const found = await probe("codex", ["--yolo", "--full-auto", "-m", "gpt"]);
    expect(found?.cli?.tried).toEqual({ "--yolo": false, "--full-auto": false });
    expect(asked().slice(2)).toEqual(["exec --yolo x --full-auto x --orchestrator-probe", "exec --full-auto x --orchestrator-probe"]);
    await probe("codex", ["--yolo"]);
    expect(asked()).toHaveLength(4);
  });

  it("is asked again when it was replaced, when its package was, and when what was kept cannot be read", async () => {
    const { probe, dir, bin, kept } = machine(claude);
    await probe("claude");
    installCli(bin, { ...claude, version: "2.1.259", help: `${claude.help}  --permission-prompts <mode>  Who is asked\n` });
    const later = await probe("claude", ["--permission-prompts", "none"]);
    expect([later?.cli?.version, Object.keys(later?.cli?.flags ?? {}).includes("--permission-prompts")]).toEqual(["2.1.259", true]);
    // The launcher of an npm package may be the same file for years.
    installCli(bin, claude);
    const launcher = statSync(join(bin, "claude"));
    await probe("claude");
    writeFileSync(join(bin, "claude"), readFileSync(join(bin, "claude"), "utf8").replace("2.1.197", "2.1.198"));
    utimesSync(join(bin, "claude"), launcher.atime, launcher.mtime);
    writeFileSync(join(dir, "package.json"), "{}");
    expect((await probe("claude"))?.cli?.version).toBe("2.1.198");
    for (const file of kept()) writeFileSync(file, "{ not");
    expect((await probe("claude"))?.cli?.version).toBe("2.1.198");
  });

  it("is asked again once a run was refused", async () => {
    const { probe, home, asked } = machine(codex);
    await probe("codex");
    forgetProbes(home, "claude");
    await probe("codex");
    expect(asked()).toHaveLength(2);
    forgetProbes(home, "codex");
    await probe("codex");
    expect(asked()).toHaveLength(4);
  });

  it("that is missing is none; one that says nothing of use, or is of no known kind, is taken as it is", async () => {
    const { probe, bin, home } = machine({ ...codex, help: "Ask your administrator.\n" });
    expect(await probe("claude")).toBeUndefined();
    expect(await probe("codex")).toEqual({ program: join(bin, "codex"), cli: undefined });
    writeFileSync(join(bin, "my-agent"), "#!/bin/sh\n", { mode: 0o755 });
    expect(await probe("my-agent")).toEqual({ program: join(bin, "my-agent"), cli: undefined });
    expect(readdirSync(home)).toEqual([]);
  });
});

describe.each(["claude", "codex", "pi"])("the real %s", (name) => {
  it("takes all that it is sent, without a trace of having been asked", { timeout: 60_000 }, async () => {
    const dir = tempDir();
    const home = join(dir, "home");
    mkdirSync(home);
    const modules = fileURLToPath(new URL("../../node_modules/.bin", import.meta.url));
    const PATH = [modules, process.env.PATH].join(delimiter);
    const adapter = adapterFor(name, name);
    const found = await probeAgent({ adapter, command: name, defaultArgs: adapter.suggestedArgs, env: { PATH }, cwd: dir, home });
    if (!found || !adapter.probing) throw new Error("not there");
    expect(found.cli?.version).toBe(adapter.probing.tested);
    expect(capabilitiesOf(adapter.capabilities, adapter.probing, found.cli)).toEqual(adapter.capabilities);
    expect(incompatibility(name, adapter.probing, found.cli, adapter.suggestedArgs)).toBeUndefined();
    expect(readdirSync(dir)).toEqual(["home"]);
  });
});
