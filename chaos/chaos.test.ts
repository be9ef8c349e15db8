import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modes } from "./modes.ts";
import { mutants } from "./mutants.ts";
import { buildVariant } from "./variant.ts";

/** The campaign in short; `npm run chaos` is the whole of it. */
const seed = Number(process.env.CHAOS_SEED ?? 1);
const variants = mkdtempSync(join(tmpdir(), "orch-chaos-test-"));
let cli = "";
beforeAll(() => {
  cli = buildVariant(join(variants, "product"));
});
afterAll(() => rmSync(variants, { recursive: true, force: true }));

const minute = 60_000;

describe(`P5 in short, seed ${seed}`, () => {
  it.concurrent.each([
    ["points", "a daemon or a shim dies once at every crash point", 9, 0],
    ["kill", "the daemon is killed at random", 6, 12],
    ["power", "the machine loses power", 6, 4],
    ["disk", "the disk is full at every few bytes", 6, 6],
  ])("%s: %s, and nothing is lost, doubled or torn", { timeout: 3 * minute }, async (mode, _what, tickets, kills) => {
    const result = await modes[mode]?.({ cli, seed, tickets, kills, occurrences: 1 });
    expect(result?.violations, `seed ${seed}, kept in ${result?.dir}`).toEqual([]);
  });
});

describe("mutants", () => {
  it("change what is there, in one place", () => {
    const root = dirname(import.meta.dirname);
    const places = mutants.map(({ name, file, find }) => [name, readFileSync(join(root, file), "utf8").split(find).length - 1]);
    expect(places).toEqual(mutants.map(({ name }) => [name, 1]));
  });

  it("are noticed: no adoption of living runs", { timeout: 3 * minute }, async () => {
    const mutant = mutants.find(({ name }) => name.startsWith("no adoption"));
    if (!mutant) throw new Error("it is gone");
    const result = await modes[mutant.mode]?.({
      ...mutant.size,
      cli: buildVariant(join(variants, "mutant"), [mutant]),
      seed,
      occurrences: 1,
    });
    const kinds = result?.violations.map(({ kind }) => kind) ?? [];
    expect(kinds.filter((kind) => mutant.expects.includes(kind))).not.toEqual([]);
    if (result?.dir) rmSync(result.dir, { recursive: true, force: true });
  });
});
