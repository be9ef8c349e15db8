import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { tempDir } from "./testing/temp.ts";

const root = dirname(import.meta.dirname);
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** An environment of ours alone, with a home and an npm cache that nobody else uses. */
function environment(home: string): Record<string, string> {
  mkdirSync(home, { recursive: true });
  return { PATH: process.env.PATH ?? "", HOME: home, npm_config_cache: join(home, ".npm"), npm_config_update_notifier: "false" };
}

describe("the npm package", () => {
  it("holds all it needs, installs offline, and runs from anywhere", () => {
    expect(existsSync(join(root, "dist/cli.js")), "dist/ is packed as it is; `npm run build` makes it").toBe(true);
    const dir = tempDir();
    const env = environment(join(dir, "home"));
    const npm = (args: string[]) => execFileSync("npm", args, { cwd: root, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

    // Without scripts: packing would otherwise build, and take dist/ away from tests that run beside this one.
    const [packed] = JSON.parse(npm(["pack", "--json", "--ignore-scripts", "--pack-destination", dir]));
    const files: string[] = packed.files.map((file: { path: string }) => file.path);
    const expected = [
      "LICENSE",
      "README.md",
      "package.json",
      "bin/orchestrator.js",
      "dist/cli.js",
      "dist/executors/shim.cjs",
      "dist/phases/checks-runner.js",
      "dist/THIRD-PARTY-LICENSES.txt",
      ...["config", "plan", "ticket", "workflow"].map((name) => `docs/schema/${name}.schema.json`),
    ];
    expect(expected.filter((file) => !files.includes(file))).toEqual([]);
    for (const folder of ["workflows", "prompts", "scripts", "skills", "blueprints"])
      expect(files.filter((file) => file.startsWith(`${folder}/`))).not.toEqual([]);
    const allowed = /^(bin|dist|workflows|prompts|scripts|skills|blueprints|docs\/schema)\/|^(LICENSE|README\.md|package\.json)$/;
    expect(files.filter((file) => !allowed.test(file))).toEqual([]);
    expect([manifest.dependencies, manifest.optionalDependencies, manifest.peerDependencies]).toEqual([undefined, undefined, undefined]);

    const prefix = join(dir, "prefix");
    npm(["install", "--global", "--offline", "--prefix", prefix, join(dir, packed.filename)]);
    const orchestrator = (args: string[]) => execFileSync(join(prefix, "bin/orchestrator"), args, { cwd: "/", env, encoding: "utf8" });
    expect(orchestrator(["--version"])).toBe(`${manifest.version}\n`);
    expect(orchestrator(["-V"])).toBe(`${manifest.version}\n`);
    expect(orchestrator(["--help"])).toContain("orchestrator");
  });
});
