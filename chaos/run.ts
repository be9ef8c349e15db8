/** The fault campaign: `node chaos/run.ts --help`. docs/reliability.md says what it proves. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { writeFigures } from "../bench/page.ts";
import { modes, type Result } from "./modes.ts";
import { mutants } from "./mutants.ts";
import { crashPoints } from "./points.ts";
import { buildVariant } from "./variant.ts";
import { removeAllWorlds } from "./world.ts";

const help = `usage: npm run chaos -- [options]

  --mode <names>   ${Object.keys(modes).join(", ")}, separated by commas; default: all
  --seed <n>       what chance decides; default 1
  --tickets <n>    tickets in one home; default 20
  --kills <n>      daemons, shims or machines to kill per mode, over as many homes as it takes, and levels of a full disk; default 60
  --thorough       each crash point at its first, second and third occurrence
  --mutants [name] build the program without one safeguard after the other, and see whether it is noticed
  --list           the crash points and the mutants
  --json           the result as JSON on stdout
  --write          also notes the figures in docs/benchmarks.md
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    mode: { type: "string", default: Object.keys(modes).join(",") },
    seed: { type: "string", default: "1" },
    tickets: { type: "string", default: "20" },
    kills: { type: "string", default: "60" },
    thorough: { type: "boolean", default: false },
    mutants: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const seed = wholeNumber(values.seed);
const tickets = wholeNumber(values.tickets);
const kills = wholeNumber(values.kills);
const variants = mkdtempSync(join(tmpdir(), "orch-chaos-variants-"));
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    removeAllWorlds();
    rmSync(variants, { recursive: true, force: true });
    process.exit(130);
  });
}
try {
  if (values.help) process.stdout.write(help);
  else if (values.list)
    process.stdout.write(
      `${[...crashPoints(false), ...crashPoints(true), "", ...mutants.map(({ name, mode }) => `${mode}: ${name}`)].join("\n")}\n`,
    );
  else if (values.mutants) process.exitCode = (await tryMutants(positionals)) ? 0 : 1;
  else process.exitCode = (await tryModes(values.mode.split(","))) ? 0 : 1;
} finally {
  rmSync(variants, { recursive: true, force: true });
}

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new Error(`${text} is no whole number\n${help}`);
  return Number(text);
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Runs every mode over as many homes as its kills take; true when nothing was violated. */
async function tryModes(names: string[]): Promise<boolean> {
  const unknown = names.filter((name) => !(name in modes));
  if (unknown.length > 0) throw new Error(`there is no mode ${unknown.join(", ")}\n${help}`);
  const cli = buildVariant(join(variants, "product"));
  const results: Result[] = [];
  for (const name of names) {
    const rounds = values.thorough && (name === "points" || name === "git") ? 3 : 1;
    for (let round = 0, left = kills; round < rounds; ) {
      const size = { cli, seed: seed + results.length, tickets, kills: left, occurrences: round + 1 };
      say(`${name}: seed ${size.seed}, ${tickets} tickets…`);
      const result = await modes[name]?.(size);
      if (!result) break;
      results.push(result);
      tell(result);
      const { kills: killed, cuts } = result.figures;
      left -= name === "disk" || name === "mount" ? kills : (cuts ?? killed ?? kills);
      if (left <= 0 || result.violations.length > 0) round += 1;
    }
  }
  if (values.json) process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
  else process.stdout.write(`${table(results)}\n`);
  if (values.write)
    for (const mode of new Set(results.map((result) => result.mode)))
      note(
        mode,
        results.filter((result) => result.mode === mode),
      );
  return results.every(({ violations }) => violations.length === 0);
}

/** Tries each mutant with up to three seeds; true when all of them were noticed. */
async function tryMutants(words: string[]): Promise<boolean> {
  const chosen = mutants.filter(({ name }) => words.every((word) => name.includes(word)));
  const rows: { name: string; mode: string; foundBy: string | null; seed: number; seconds: number }[] = [];
  for (const [i, { name, mode, size, expects, ...change }] of chosen.entries()) {
    const cli = buildVariant(join(variants, `mutant-${i}`), [change]);
    let foundBy: string | null = null;
    let [last, seconds, instead] = [seed, 0, ""];
    for (let attempt = 0; attempt < 3 && foundBy === null; attempt++) {
      last = seed + attempt;
      const result = await modes[mode]?.({ ...size, cli, seed: last, occurrences: 1, patienceMs: 40_000 });
      seconds += result?.seconds ?? 0;
      const found = result?.violations.find(({ kind }) => expects.includes(kind));
      instead = result?.violations.map(({ kind, what }) => `${kind}: ${what}`).join("\n") ?? "";
      foundBy = found ? `${found.kind}: ${found.what.slice(0, 120)}` : null;
      if (result?.dir) rmSync(result.dir, { recursive: true, force: true });
    }
    rows.push({ name, mode, foundBy, seed: last, seconds });
    say(`${foundBy === null ? "MISSED" : "found"}  ${name} (${mode}, seed ${last}, ${seconds} s)  ${foundBy ?? instead}`);
  }
  if (values.json) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
  const found = rows.filter(({ foundBy }) => foundBy !== null).length;
  say(`${found} of ${rows.length} mutants found`);
  if (values.write)
    writeFigures("chaos-mutants", commandLine(), [
      { what: "broken variants", measured: `${found} of ${rows.length} found`, limit: "all found", ok: found === rows.length },
    ]);
  return found === rows.length;
}

/** Writes down what a mode did, summed over its homes. */
function note(mode: string, results: Result[]): void {
  const done = new Map<string, number>();
  for (const { figures } of results) for (const [name, value] of Object.entries(figures)) done.set(name, (done.get(name) ?? 0) + value);
  const told = [...done].map(([name, value]) => `${value} ${name}`).join(", ");
  const violations = results.reduce((sum, result) => sum + result.violations.length, 0);
  const seeds = results.map((result) => result.seed).join(", ");
  const measured = `${violations} violations (${told}; seeds ${seeds})`;
  writeFigures(`chaos-${mode}`, commandLine(), [{ what: mode, measured, limit: "0 violations", ok: violations === 0 }]);
}

function commandLine(): string {
  return `npm run chaos -- ${process.argv
    .slice(2)
    .filter((word) => word !== "--write")
    .join(" ")}`;
}

function tell({ mode, seconds, violations, dir }: Result): void {
  say(`${mode}: ${violations.length} violations in ${seconds} s${dir ? `; its home is kept in ${dir}` : ""}`);
  for (const { kind, what } of violations.slice(0, 20)) say(`  ${kind}: ${what}`);
}

function table(results: Result[]): string {
  const line = ({ mode, seed: used, seconds, figures, violations }: Result) => {
    const told = Object.entries(figures).map(([name, value]) => `${value} ${name}`);
    return `| ${mode} | ${used} | ${seconds} | ${told.join(", ")} | ${violations.length} |`;
  };
  return ["| mode | seed | seconds | figures | violations |", "| --- | --- | --- | --- | --- |", ...results.map(line)].join("\n");
}
