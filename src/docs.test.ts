import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { PlanDraft } from "./domain/draft.ts";
import { draftQuality } from "./planner/draft-quality.ts";
import { codeLines, prose, wrongCalls } from "./testing/markdown.ts";

const root = dirname(import.meta.dirname);
const pages = ["README.md", ...globSync("docs/**/*.md", { cwd: root })].sort();
const scripts = Object.keys(JSON.parse(read("package.json")).scripts);

function read(page: string): string {
  return readFileSync(join(root, page), "utf8");
}

/** The anchors that GitHub makes of a page's headings. */
function anchors(text: string): string[] {
  return [...prose(text).matchAll(/^#+ +(.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .trim()
      .replaceAll(" ", "-"),
  );
}

/** What is wrong with a page's relative links. */
function brokenLinks(page: string, text: string): string[] {
  const targets = [...prose(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
  return targets
    .filter((target) => !/^[a-z]+:/.test(target))
    .filter((target) => {
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? join(root, page) : resolve(root, dirname(page), path);
      if (!existsSync(file)) return true;
      return anchor !== undefined && !anchors(readFileSync(file, "utf8")).includes(anchor);
    })
    .map((target) => `${page}: ${target}`);
}

describe("README and docs", () => {
  it("have links that lead somewhere", () => {
    expect(pages.flatMap((page) => brokenLinks(page, read(page)))).toEqual([]);
  });

  it("name commands and options that exist", () => {
    expect(pages.flatMap((page) => wrongCalls(page, read(page)))).toEqual([]);
  });

  it("name scripts of package.json that exist", () => {
    const named = pages.flatMap((page) =>
      codeLines(read(page)).flatMap((line) =>
        [...line.matchAll(/\b(?:npm|pnpm) run ([a-z:]+)/g)].map(([, script = ""]) => ({ page, script })),
      ),
    );
    // Other pages may speak of the scripts of a user's own project.
    const ours = named.filter(({ page }) => page === "README.md" || page === "docs/adding.md");
    expect(ours.filter(({ script }) => !scripts.includes(script))).toEqual([]);
    expect(codeLines(read("README.md")).some((line) => line.startsWith("npm run demo"))).toBe(true);
    expect(codeLines(read("README.md")).some((line) => line.startsWith("npm test"))).toBe(true);
    expect(scripts).toEqual(expect.arrayContaining(["demo", "test"]));
  });

  it("have a README that is short", () => {
    expect(read("README.md").split("\n").length).toBeLessThanOrEqual(121);
  });

  it("have a first plan in the README that is valid, with nothing to say against it", () => {
    const [text = ""] = [...read("README.md").matchAll(/<<'EOF'\n([\s\S]*?)\nEOF$/gm)].map(([, yaml = ""]) => yaml);
    expect(draftQuality(PlanDraft.parse(parse(text)))).toEqual([]);
  });

  it("name files of the repository that exist", () => {
    const named = pages.flatMap((page) =>
      [...prose(read(page)).matchAll(/`((?:src|bin|tools|scripts|workflows|prompts|skills|blueprints)\/[\w./-]+\.\w+)`/g)].map(
        ([, file = ""]) => ({
          page,
          file,
        }),
      ),
    );
    expect(named.filter(({ file }) => !existsSync(join(root, file)))).toEqual([]);
  });
});

describe("the checks themselves", () => {
  it("find a dead link and a dead anchor, and pass over those to other sites", () => {
    const text =
      "[a](nowhere.md) [b](https://example.com) [c](../docs/engine.md#states-and-events) [d](engine.md#x)\n```\n[e](gone.md)\n```\n";
    expect(brokenLinks("docs/engine.md", text)).toEqual(["docs/engine.md: nowhere.md", "docs/engine.md: engine.md#x"]);
  });

  it("find an unknown command and an unknown option, and pass over what is no call", () => {
    const text = [
      "orchestrator is a program. `orchestrator dance` `orchestrator status --colour` `orchestrator/main` `orchestrator <command>`",
      "```sh",
      "$ orchestrator why a b --json | grep --count x",
      "orchestrator -C x.yaml workflow lint   # --not-an-option",
      "ORCHESTRATOR_HOME=/tmp/x orchestrator retry a b -m 'do --this'",
      "orchestrator workflow paint",
      "```",
    ].join("\n");
    expect(wrongCalls("p", text)).toEqual([
      'p: there is no command "workflow" in: orchestrator workflow paint',
      'p: there is no command "dance" in: orchestrator dance',
      'p: "status" has no option --colour in: orchestrator status --colour',
    ]);
  });
});
