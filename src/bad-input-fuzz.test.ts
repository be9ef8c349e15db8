import { readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import { createContext } from "./app.ts";
import { run as check } from "./commands/check.ts";
import { UserError } from "./domain/errors.ts";
import { testHome } from "./testing/home.ts";
import { testRunner } from "./testing/runner.ts";

/** What people, editors and models leave in files by mistake. */
const pieces = [
  ..."\"'{}[],:\\\t\n#&*!|>%@-?~0",
  "\u0000",
  "\ufeff",
  "\u2028",
  "null",
  "true",
  "-1",
  "1e999",
  "{{ x }}",
  "<<: *a",
  "&a [*a]",
  '"__proto__": {},',
  "../../",
  "---\n",
  "\r\n",
];
const mutation = fc.record({
  file: fc.constantFrom("plan", "ticket", "config", "workflow"),
  how: fc.constantFrom("insert", "replace", "delete", "cut", "double", "byte"),
  at: fc.integer({ min: 0, max: 999 }),
  length: fc.integer({ min: 1, max: 40 }),
  piece: fc.constantFrom(...pieces),
  byte: fc.integer({ min: 0, max: 255 }),
});

function mutate(text: string, { how, at, length, piece, byte }: typeof mutation extends fc.Arbitrary<infer T> ? T : never): Buffer {
  const from = Math.floor((at / 1000) * text.length);
  const [head, tail] = [text.slice(0, from), text.slice(from)];
  switch (how) {
    case "insert":
      return Buffer.from(head + piece + tail);
    case "replace":
      return Buffer.from(head + piece + tail.slice(length));
    case "delete":
      return Buffer.from(head + tail.slice(length));
    case "cut":
      return Buffer.from(head);
    case "double":
      return Buffer.from(head + tail.slice(0, length) + tail);
    default:
      return Buffer.concat([Buffer.from(head), Buffer.from([byte]), Buffer.from(tail.slice(1))]);
  }
}

it("P10 100 damaged files: check and the runner's look live on, and what cannot be read is never taken for absent", {
  timeout: 120_000,
}, async () => {
  const home = testHome({ config: { pollInterval: 1, checks: { ok: "true" } } });
  const flow = `name: one
description: A flow.
phases:
  - id: work
    type: script
    command: work.sh
    args: ["{{ title }}"]
    maxRetries: 2
    onSuccess: done
  - id: done
    type: terminal
`;
  home.writeWorkflow("one.yaml", flow);
  home.writeScript("work.sh", "true\n");
  home.writePlan({ id: "p", workflow: "one" }, [
    { ticketId: "A", title: "First" },
    { ticketId: "B", blockedBy: ["A"] },
  ]);
  const opened = await testRunner(home);
  await opened.settle("p", { A: "complete", B: "complete" });
  await opened.runner.quiet();
  const files = {
    plan: join(home.home, "state/plans/p/plan.json"),
    ticket: join(home.home, "state/plans/p/tickets/A.json"),
    config: join(home.home, "config.yaml"),
    workflow: join(home.home, "workflows/one.yaml"),
  };
  let said = "";
  const sink = { write: (text: string) => (said += text) };
  const context = () =>
    createContext({ env: home.env, cwd: home.dir, version: "0.0.0-test", stdout: sink, stderr: sink, options: { color: false } });

  let time = Date.now() / 1000 - 100_000;
  /** Older than what an editor may still be writing, and never twice of one age: its version is known by that. */
  const age = (file: string) => {
    time += 1;
    utimesSync(file, time, time);
  };

  await fc.assert(
    fc.asyncProperty(mutation, async (change) => {
      const file = files[change.file as keyof typeof files];
      const good = readFileSync(file, "utf8");
      const bad = mutate(good, change);
      writeFileSync(file, bad);
      age(file);
      said = "";
      const ending = await check(context(), [], {}).catch((error: unknown) => {
        if (!(error instanceof UserError)) throw error;
        said += error.message;
        return error.exit;
      });
      expect(["ok", "invalid", "unsafe", "notFound"]).toContain(ending);
      if (ending === "invalid") expect(said).toContain(home.home);
      opened.reloadConfig();
      await opened.runner.tick();
      const plan = opened.index.plans.get("p");
      expect([...(plan?.tickets.keys() ?? [])]).toEqual(expect.arrayContaining(["A", "B"]));
      if (!isJson(bad) && change.file === "plan") expect(plan?.problems[0]?.file).toBe(file);
      if (!isJson(bad) && change.file === "ticket") expect(plan?.tickets.get("A")?.problem?.file).toBe(file);
      // Nobody has written over it.
      if (!isJson(bad) && (change.file === "plan" || change.file === "ticket")) expect(readFileSync(file)).toEqual(bad);
      writeFileSync(file, good);
      age(file);
      opened.reloadConfig();
      await opened.runner.tick();
      expect(opened.index.plans.get("p")?.tickets.get("A")?.problem).toBeNull();
    }),
    { numRuns: 100 },
  );
});

function isJson(bytes: Buffer): boolean {
  try {
    JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return true;
  } catch {
    return false;
  }
}
