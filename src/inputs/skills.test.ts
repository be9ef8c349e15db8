import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { formatFinding } from "../domain/errors.ts";
import { tempDir } from "../testing/temp.ts";
import { listSkills, plannerSkills, skillIndex, skillProblems, skillsLimit, skillsText } from "./skills.ts";

const front = (name: string, more = "") => `---\nname: ${name}\ndescription: What ${name} is about.\n${more}---\n`;

/** A folder of skills: name → SKILL.md. */
function folder(files: Record<string, string>): string {
  const dir = tempDir();
  for (const [name, text] of Object.entries(files)) {
    const file = join(dir, name, "SKILL.md");
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  return dir;
}

const findings = (text: string, name = "a") => {
  const dir = folder({ [name]: text });
  return listSkills([dir]).flatMap((skill) => skill.findings.map((finding) => formatFinding(finding).replace(`${dir}/`, "")));
};

describe("the lint of skills", () => {
  it.each([
    [
      "no front matter",
      "# A\n",
      ["a/SKILL.md:1:1  there is no front matter — fix: begin the file with ---, name:, description: and --- [front-matter]"],
    ],
    ["front matter without an end", "---\nname: a\n", [/there is no front matter/]],
    [
      "another name than its folder",
      `${front("b")}x\n`,
      [/^a\/SKILL\.md:2:7 {2}name: the skill is called "b" and its folder "a" — fix: .* \[skill-name\]$/],
    ],
    ["a name in capitals", `${front("A")}x\n`, [/:2:7 {2}name: a skill's name has lower-case letters/]],
    ["no description", "---\nname: a\n---\nx\n", [/description: "description" is required/]],
    [
      "a description that is too long",
      `---\nname: a\ndescription: ${"x".repeat(1025)}\n---\nx\n`,
      [/:3:14 {2}description: the length is out of range/],
    ],
    [
      "an unknown key",
      `${front("a", "descripton: x\n")}x\n`,
      [/:4:1 {2}descripton: unknown key "descripton" — fix: did you mean "description"\?/],
    ],
    [
      "an unknown reader",
      `${front("a", "metadata: { for: planer }\n")}x\n`,
      [/metadata\.for: expected planner \| worker, got string "planer" — fix: did you mean "planner"/],
    ],
    ["YAML that is none", "---\nname: [\n---\nx\n", [/:\d+:\d+ /]],
    ["nothing below the front matter", front("a"), [/:5:1 {2}the skill says nothing/]],
    ["too much", `${front("a")}${"x".repeat(skillsLimit + 1)}\n`, [/:5:1 {2}it is 32770 bytes long; a prompt takes 32768/]],
    [
      "a dead link",
      `${front("a")}\nSee [this](more.md) and [that](https://example.com/x), \`[no](link)\`.\n`,
      [/^a\/SKILL\.md:6:1 {2}the link to more\.md leads nowhere/],
    ],
    [
      "a worker's skill without its sections",
      `${front("a", "metadata: { for: worker }\n")}## When to use\n\nx\n\n## Steps\n`,
      [/"## Common mistakes" is missing/, /"## What proves it" is missing/],
    ],
  ] as [string, string, (string | RegExp)[]][])("finds %s", (_, text, expected) => {
    expect(findings(text)).toEqual(expected.map((line) => (typeof line === "string" ? line : expect.stringMatching(line))));
  });

  it("finds nothing in a good one, whatever its line ends", () => {
    const good = `${front("a", "license: MIT\nmetadata: { author: ada }\n")}# A\n\n\`\`\`md\n[x](gone.md)\n\`\`\`\n`;
    expect([findings(good), findings(good.replaceAll("\n", "\r\n"))]).toEqual([[], []]);
  });
});

describe("the search path of skills", () => {
  it("takes the first of a name, and says what it stands in front of", () => {
    const own = folder({ testing: `${front("testing")}Ours.\n` });
    const bundled = folder({ testing: `${front("testing")}Theirs.\n`, debug: `${front("debug")}Look.\n` });
    expect(listSkills([own, bundled, join(own, "none")]).map(({ name, file, shadows }) => ({ name, file, shadows }))).toEqual([
      { name: "debug", file: join(bundled, "debug", "SKILL.md"), shadows: [] },
      { name: "testing", file: join(own, "testing", "SKILL.md"), shadows: [join(bundled, "testing", "SKILL.md")] },
    ]);
    expect(skillsText([own, bundled], ["testing"])).toContain("Ours.");
  });

  it("gives planners what is not for workers, and an index of it", () => {
    const dir = folder({
      cli: `${front("cli", "metadata: { for: planner }\n")}x\n`,
      ours: `${front("ours")}x\n`,
      debug: `${front("debug", "metadata: { for: worker }\n")}x\n`,
      broken: "x\n",
    });
    expect(skillIndex(plannerSkills([dir]))).toBe(
      `- \`cli\`: What cli is about. Read ${dir}/cli/SKILL.md\n- \`ours\`: What ours is about. Read ${dir}/ours/SKILL.md`,
    );
  });
});

describe("skills in a prompt", () => {
  it("are there once each, in the order named, with their headings below its own", () => {
    const dir = folder({ a: `${front("a")}# A\n\n## More\n\n\`\`\`sh\n# comment\n\`\`\`\n`, b: `${front("b")}Text.\n` });
    expect(skillsText([dir], ["b", "a", "b"])).toBe(
      "## Skills\n\nWhat has been learned about work of this kind. Where the ticket or the repository says otherwise, they win.\n\n### Skill: b\n\nText.\n\n### Skill: a\n\n### A\n\n#### More\n\n```sh\n# comment\n```",
    );
    expect(skillsText([dir], [])).toBe("");
  });

  it("P7 are bounded, and those that are missing or broken are an error", () => {
    const half = "x".repeat(skillsLimit / 2);
    const dir = folder({ testing: `${front("testing")}${half}\n`, debug: `${front("debug")}${half}\n`, bad: "x\n" });
    expect(() => skillsText([dir], ["testing", "debug"])).toThrow(/come to \d+ bytes; a prompt takes 32768/);
    expect(() => skillsText([dir], ["bad"])).toThrow(/the skill "bad" .* has errors/);
    expect(skillProblems([dir], ["testing", "testng"])).toEqual([
      { index: 1, message: `there is no skill "testng" in ${dir}`, fix: 'did you mean "testing"?' },
    ]);
  });
});
