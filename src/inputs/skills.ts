/** Agent Skills: folders with a SKILL.md, whose front matter says what it is about. */
import { readdirSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import * as z from "zod";
import { didYouMean, type Finding, UserError } from "../domain/errors.ts";
import { readTextFile } from "./read-text.ts";
import { nameProblem } from "./search-path.ts";
import { parseYaml, sortFindings } from "./yaml-file.ts";

/** What all skills of one prompt may come to, in bytes. */
export const skillsLimit = 32 * 1024;
/** What PI, claude and codex show of a description. */
const descriptionLimit = 1024;

const FrontMatter = z.looseObject({
  name: z
    .string()
    .max(64)
    .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, { error: "a skill's name has lower-case letters, digits and single dashes" }),
  description: z.string().min(1).max(descriptionLimit),
  license: z.string().optional(),
  compatibility: z.string().optional(),
  "allowed-tools": z.string().optional(),
  /** `for`: who is meant to read it, a planner or the worker of a ticket. Without it, either. */
  metadata: z
    .object({ for: z.enum(["planner", "worker"]).optional() })
    .catchall(z.string())
    .optional(),
});

/** A skill of the search path. Broken ones are listed, too: their findings say what is wrong. */
export interface Skill {
  name: string;
  description: string;
  for: "planner" | "worker" | "either";
  /** Its SKILL.md. */
  file: string;
  /** What stands below the front matter. */
  body: string;
  /** Files of lower precedence that this one stands in front of. */
  shadows: string[];
  findings: Finding[];
}

/** Every skill of the search path by name. A folder that does not exist holds none; one that cannot be read is a UserError. */
export function listSkills(dirs: readonly string[]): Skill[] {
  return [...findSkills(dirs).values()].map(readSkill).toSorted((a, b) => a.name.localeCompare(b.name));
}

/** The files of each name, the one that counts first. */
function findSkills(dirs: readonly string[]): Map<string, string[]> {
  return Map.groupBy(dirs.flatMap(skillFiles), (file) => basename(dirname(file)));
}

/** The skills that a planner is to have, without those that are broken. */
export function plannerSkills(dirs: readonly string[]): Skill[] {
  return listSkills(dirs).filter((skill) => skill.for !== "worker" && isUsable(skill));
}

/** One line per skill, for agents that take no skills by themselves: what it is about and which file to read. */
export function skillIndex(skills: readonly Skill[]): string {
  return skills.map(({ name, description, file }) => `- \`${name}\`: ${description.replace(/\s+/g, " ").trim()} Read ${file}`).join("\n");
}

/** What is wrong with names of skills, and which of them: missing or broken ones, or all of them too long for a prompt. */
export function skillProblems(dirs: readonly string[], names: readonly string[]): { index?: number; message: string; fix: string }[] {
  if (names.length === 0) return [];
  const files = findSkills(dirs);
  const skills = named(files, names);
  const problems = names.flatMap((name, index) => {
    const skill = skills.get(name);
    if (skill && isUsable(skill)) return [];
    if (skill) return [{ index, message: `the skill "${name}" (${skill.file}) has errors`, fix: `orchestrator skill lint ${name}` }];
    const known = [...files.keys()].toSorted();
    const near = didYouMean(name, known);
    const fix = near === undefined ? `known: ${known.join(", ")}; yours go into ${dirs[0]}` : `did you mean "${near}"?`;
    return [{ index, message: `there is no skill "${name}" in ${dirs.join(" or ")}`, fix }];
  });
  const size = problems.length > 0 ? 0 : Buffer.byteLength(section(skills.values()));
  if (size <= skillsLimit) return problems;
  const message = `the skills come to ${size} bytes; a prompt takes ${skillsLimit}`;
  return [{ message, fix: "name fewer of them, or shorten your own" }];
}

/**
 * The section of a prompt that holds these skills, each once, in the order named; "" for none. A skill that is missing or broken,
 * and more than `skillsLimit` bytes, are a UserError.
 */
export function skillsText(dirs: readonly string[], names: readonly string[]): string {
  if (names.length === 0) return "";
  const [first] = skillProblems(dirs, names);
  if (first) throw new UserError(`Skills for this prompt: ${first.message}.`, { exit: "invalid", hint: first.fix });
  return section(named(findSkills(dirs), names).values());
}

/** The skills of these names that there are, each once, in the order named. */
function named(files: ReadonlyMap<string, string[]>, names: readonly string[]): Map<string, Skill> {
  return new Map(
    names.flatMap((name): [string, Skill][] => {
      const found = files.get(name);
      return found ? [[name, readSkill(found)]] : [];
    }),
  );
}

function section(skills: Iterable<Skill>): string {
  const texts = [...skills].map(({ name, body }) => `### Skill: ${name}\n\n${deeper(body.trim())}`);
  const head = "What has been learned about work of this kind. Where the ticket or the repository says otherwise, they win.";
  return ["## Skills", head, ...texts].join("\n\n");
}

/** Reads the first of these SKILL.md and checks it. Never throws for what is in it. */
function readSkill([file = "", ...shadows]: readonly string[]): Skill {
  const folder = basename(dirname(file));
  const nothing = { name: folder, description: "", for: "either", file, body: "", shadows } as const;
  const read = readTextFile(file);
  if (!("text" in read)) {
    const fix = "make it a readable UTF-8 text file of at most 1 MiB";
    return { ...nothing, findings: [problem(file, 1, "unreadable", read.message, fix)] };
  }
  const parts = /^---\r?\n([\s\S]*?)^---[ \t]*(?:\r?\n|$)([\s\S]*)/m.exec(read.text);
  if (parts?.index !== 0) {
    const fix = "begin the file with ---, name:, description: and ---";
    return { ...nothing, findings: [problem(file, 1, "front-matter", "there is no front matter", fix)] };
  }
  const [, front = "", body = ""] = parts;
  // The empty line stands for the first ---, so that lines count as in the file.
  const yaml = parseYaml(`\n${front}`, file, FrontMatter);
  const findings = [...yaml.findings];
  const bodyLine = read.text.slice(0, read.text.length - body.length).split("\n").length;
  if (yaml.value && yaml.value.name !== folder) {
    const message = `the skill is called "${yaml.value.name}" and its folder "${folder}"`;
    findings.push(yaml.place({ severity: "error", rule: "skill-name", path: ["name"], message, fix: "give both the same name" }));
  }
  if (body.trim() === "") findings.push(problem(file, bodyLine, "empty", "the skill says nothing", "write what is to be done"));
  const size = Buffer.byteLength(body);
  if (size > skillsLimit) {
    findings.push(
      problem(
        file,
        bodyLine,
        "too-long",
        `it is ${size} bytes long; a prompt takes ${skillsLimit}`,
        "move what is rarely needed to a file beside it",
      ),
    );
  }
  findings.push(...deadLinks(file, body, bodyLine));
  const { description = "", metadata } = yaml.value ?? {};
  if (metadata?.for === "worker") findings.push(...missingSections(file, body, bodyLine));
  return { ...nothing, description, for: metadata?.for ?? "either", body, findings: sortFindings(findings) };
}

function isUsable({ findings }: Skill): boolean {
  return findings.every(({ severity }) => severity !== "error");
}

function skillFiles(dir: string): string[] {
  try {
    return readdirSync(dir)
      .filter((name) => !name.startsWith(".") && nameProblem(name) === undefined)
      .toSorted()
      .map((name) => join(dir, name, "SKILL.md"))
      .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile());
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return [];
    throw new UserError(`The skill folder ${dir} cannot be read (${code}).`, { exit: "invalid", hint: "make it a readable folder" });
  }
}

/** The headings of a skill below the one that it gets in a prompt. */
function deeper(body: string): string {
  return outsideFences(body, (line) => line.replace(/^(#{1,4}) /, "##$1 "));
}

/** The same text with each line outside of code fences changed. */
function outsideFences(text: string, change: (line: string, number: number) => string): string {
  let fence = "";
  return text
    .split("\n")
    .map((line, i) => {
      const mark = /^ *(`{3,}|~{3,})/.exec(line)?.[1] ?? "";
      if (mark !== "" && (fence === "" || mark.startsWith(fence))) {
        fence = fence === "" ? mark : "";
        return line;
      }
      return fence === "" ? change(line, i) : line;
    })
    .join("\n");
}

/** Links to files that are not there. */
function deadLinks(file: string, body: string, bodyLine: number): Finding[] {
  const findings: Finding[] = [];
  outsideFences(body, (line, i) => {
    for (const [, target = ""] of line.replace(/`[^`]*`/g, "").matchAll(/\]\(([^)\s]+)\)/g)) {
      const path = target.replace(/#.*$/, "");
      if (path === "" || /^[a-z]+:/i.test(path) || statSync(resolve(dirname(file), path), { throwIfNoEntry: false })) continue;
      findings.push(
        problem(
          file,
          bodyLine + i,
          "dead-link",
          `the link to ${target} leads nowhere`,
          "correct the path; it counts from the skill's folder",
        ),
      );
    }
    return line;
  });
  return findings;
}

/** The parts of a worker's skill: when it is for the ticket at hand, what to do, and by what one sees that it is done. */
const sections = ["When to use", "Steps", "What proves it", "Common mistakes"] as const;

function missingSections(file: string, body: string, bodyLine: number): Finding[] {
  const there = [...body.matchAll(/^## +(.*?) *$/gm)].map(([, title = ""]) => title.toLowerCase());
  return sections
    .filter((title) => !there.includes(title.toLowerCase()))
    .map((title) => ({
      ...problem(file, bodyLine, "skill-section", `the section "## ${title}" is missing`, "add it"),
      severity: "warning",
    }));
}

function problem(file: string, line: number, rule: string, message: string, fix: string): Finding {
  return { severity: "error", rule, file, line, column: 1, message, fix };
}
