import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it, onTestFinished } from "vitest";
import { tempDir } from "./testing/temp.ts";

const root = dirname(import.meta.dirname);
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** An environment of ours alone, with a home and an npm cache that nobody else uses. */
function environment(home: string): Record<string, string> {
  mkdirSync(home, { recursive: true });
  return { PATH: process.env.PATH ?? "", HOME: home, npm_config_cache: join(home, ".npm"), npm_config_update_notifier: "false" };
}

const pi = "@mariozechner/pi-coding-agent";

/** A registry that has PI's name and nothing else: whatever more an installation asked for would end it. */
async function registryWithPi(dir: string): Promise<string> {
  mkdirSync(join(dir, "package"));
  const version = manifest.dependencies[pi];
  writeFileSync(join(dir, "package", "package.json"), JSON.stringify({ name: pi, version }));
  execFileSync("tar", ["-czf", "pi.tgz", "package"], { cwd: dir });
  const server = createServer((request, response) => {
    if (request.url === "/pi.tgz") response.end(readFileSync(join(dir, "pi.tgz")));
    else if (decodeURIComponent(request.url ?? "") === `/${pi}`) {
      const tarball = `http://${request.headers.host}/pi.tgz`;
      response.end(
        JSON.stringify({ name: pi, "dist-tags": { latest: version }, versions: { [version]: { name: pi, version, dist: { tarball } } } }),
      );
    } else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

describe("the npm package", () => {
  it("holds all it needs but PI, installs with that alone, and runs from anywhere", async () => {
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
    expect([manifest.dependencies, manifest.optionalDependencies, manifest.peerDependencies]).toEqual([
      { [pi]: "0.73.1" },
      undefined,
      undefined,
    ]);

    const prefix = join(dir, "prefix");
    const registry = await registryWithPi(dir);
    const install = ["install", "--global", "--no-audit", "--registry", registry, "--prefix", prefix, join(dir, packed.filename)];
    await promisify(execFile)("npm", install, { cwd: root, env });
    const orchestrator = (args: string[]) => execFileSync(join(prefix, "bin/orchestrator"), args, { cwd: "/", env, encoding: "utf8" });
    expect(orchestrator(["--version"])).toBe(`${manifest.version}\n`);
    expect(orchestrator(["-V"])).toBe(`${manifest.version}\n`);
    expect(orchestrator(["--help"])).toContain("orchestrator");

    // The real one in its place, which the built program has to find where npm puts it.
    const installed = join(prefix, "lib/node_modules/orchestrator/node_modules", pi);
    rmSync(installed, { recursive: true });
    symlinkSync(realpathSync(join(root, "node_modules", pi)), installed);
    orchestrator(["init"]);
    expect(() => orchestrator(["plan", "--prompt", "anything"])).toThrow(/PI cannot plan: No (API key|model)/);
  });
});
