import type { Context } from "../app.ts";
import { suggestion, UserError } from "../domain/errors.ts";
import { listSkills, type Skill } from "../inputs/skills.ts";
import type { CommandModule, Ending } from "./command.ts";
import { columns, counted, oneLine, printData, printLine } from "./print.ts";
import { countText, findingsEnding, printFindings } from "./workflow.ts";

/** Lists the skills of the search path. */
export const list: CommandModule = {
  async run(context: Context, _args: string[], options: { json?: boolean }): Promise<Ending> {
    const { skillsDirs } = await context.config();
    const found = listSkills(skillsDirs).map(({ body: _, ...skill }) => skill);
    if (options.json) {
      printData(context, found);
      return "ok";
    }
    const rows = found.map(({ name, for: reader, description, findings, file, shadows }) => {
      const broken = findings.some(({ severity }) => severity === "error");
      const about = broken ? context.style("red", `broken: orchestrator skill lint ${name}`) : oneLine(description, 100);
      return [name, reader, about, `${file}${shadows.length > 0 ? " (instead of the bundled one)" : ""}`];
    });
    for (const line of columns(rows)) printLine(context, line);
    return "ok";
  },
};

/** Prints everything that is known to be wrong with one skill, or with all. */
export const lint: CommandModule = {
  async run(context: Context, [name]: string[], options: { json?: boolean; strict?: boolean }): Promise<Ending> {
    const { skillsDirs } = await context.config();
    const all = listSkills(skillsDirs);
    const skills = name === undefined ? all : [named(all, name)];
    const findings = skills.flatMap((skill) => skill.findings);
    if (options.json) printData(context, { files: skills.map(({ file }) => file), findings });
    else {
      printFindings(context, findings);
      context.say(`${counted(skills.length, "skill")} checked: ${countText(findings)}`);
    }
    return findingsEnding(findings, options);
  },
};

function named(all: readonly Skill[], name: string): Skill {
  const skill = all.find((known) => known.name === name);
  if (skill) return skill;
  const names = all.map((known) => known.name);
  throw new UserError(`There is no skill "${name}"${suggestion(name, names)}.`, { exit: "notFound", hint: `known: ${names.join(", ")}` });
}
