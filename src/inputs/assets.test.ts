import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { bundledAssets } from "./assets.ts";

describe("bundled folders", () => {
  it("are those of this repository when run from source", () => {
    const root = join(import.meta.dirname, "..", "..");
    expect(bundledAssets()).toEqual({
      root,
      workflows: join(root, "workflows"),
      prompts: join(root, "prompts"),
      scripts: join(root, "scripts"),
      skills: join(root, "skills"),
      blueprints: join(root, "blueprints"),
    });
  });

  it.each(["dist/cli.js", "dist/chunks/a/b.js", "bin/orchestrator.js"])("are found from %s of an installed package", (module) => {
    const lib = join(tempDir(), "lib", "node_modules");
    const root = join(lib, "orchestrator");
    mkdirSync(join(root, "dist", "chunks", "a"), { recursive: true });
    writeFileSync(join(root, "package.json"), '{"name":"orchestrator"}');
    writeFileSync(join(root, "dist", "package.json"), '{"type":"module"}');
    expect(bundledAssets(pathToFileURL(join(root, module)).href).root).toBe(root);
  });

  it("say so when there is no package", () => {
    expect(() => bundledAssets(pathToFileURL(join(tempDir(), "x.js")).href)).toThrow(/No package\.json of orchestrator/);
  });
});
