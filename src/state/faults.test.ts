import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import type { Intent } from "../domain/event.ts";
import { tempDir } from "../testing/temp.ts";
import { disk, hasCode } from "./atomic-write.ts";
import { answerIntent, awaitAnswer, sendIntent, takeIntents } from "./inbox.ts";
import { type Index, openIndex } from "./index.ts";
import { openJournal, readJournal } from "./journal.ts";
import { Fenced } from "./tickets.ts";

/** "once": one call fails and the program goes on. "from then on": no call works any more, as in a process that dies there. */
type Extent = "once" | "from then on";
type Fault = { code: string; extent: Extent };

const faults: Fault[] = [
  { code: "ENOSPC", extent: "once" },
  { code: "EIO", extent: "once" },
  { code: "EEXIST", extent: "once" },
  { code: "EIO", extent: "from then on" },
];

type Call = (...args: unknown[]) => unknown;

/** Runs `operation` with a disk whose call number `failing` (from 0) fails; tells whether there was such a call, and what was thrown. */
async function withFault<T>(failing: number, { code, extent }: Fault, operation: () => Promise<T>) {
  const real = { ...disk } as Record<string, Call>;
  let calls = 0;
  const fails = () => {
    const call = calls++;
    return call === failing || (extent === "from then on" && call > failing);
  };
  const error = () => Object.assign(new Error(`${code} at call ${failing}`), { code });
  const handled = (handle: FileHandle) => {
    for (const name of ["write", "sync", "datasync", "stat", "close"] as const) {
      const call = (handle[name] as Call).bind(handle);
      Object.assign(handle, {
        [name]: async (bytes?: Buffer, at?: number) => {
          if (!fails()) return call(...(bytes === undefined ? [] : [bytes, at]));
          if (name === "close") await call();
          // A full disk takes a part first.
          if (name === "write" && bytes) await call(bytes, at, (bytes.length - (at ?? 0)) >> 1);
          throw error();
        },
      });
    }
    return handle;
  };
  const restore = () => Object.assign(disk, real);
  onTestFinished(() => void restore());
  for (const name of Object.keys(real)) {
    const call = real[name] as Call;
    const wrapped: Call = name.endsWith("Sync")
      ? (...args) => {
          if (!fails()) return call(...args);
          if (name === "closeSync") call(...args);
          throw error();
        }
      : async (...args) => {
          if (fails()) throw error();
          const result = await call(...args);
          return name === "open" ? handled(result as FileHandle) : result;
        };
    Object.assign(disk, { [name]: wrapped });
  }
  try {
    return { value: await operation(), thrown: undefined, reached: calls > failing };
  } catch (thrown) {
    return { value: undefined, thrown, reached: calls > failing };
  } finally {
    restore();
  }
}

/** Tries `attempt` with the fault at the first call, the second and so on, until it no longer reaches that far. */
async function everyCall(attempt: (failing: number) => Promise<boolean>): Promise<void> {
  let failing = 0;
  while (await attempt(failing)) failing += 1;
  expect(failing).toBeGreaterThan(5);
}

function newState(): string {
  const stateDir = tempDir();
  mkdirSync(join(stateDir, "plans/p/tickets"), { recursive: true });
  writeFileSync(join(stateDir, "plans/p/plan.json"), JSON.stringify({ id: "p", milestone: "M1", tickets: [{ ticketId: "A" }] }));
  writeFileSync(join(stateDir, "plans/p/tickets/A.json"), JSON.stringify({ planId: "p", ticketId: "A", title: "a" }));
  return stateDir;
}

/** What a process that starts afterwards finds, once it has repaired what it found. Its clock is far ahead: nothing is too young. */
async function afterRestart(stateDir: string): Promise<Index> {
  let clock = Date.now() + 60_000;
  const index = openIndex(stateDir, { writer: true, now: () => clock });
  await index.poll();
  clock += 60_000;
  await index.poll();
  return index;
}

function ticketA(index: Index) {
  const ticket = index.plans.get("p")?.tickets.get("A")?.ticket;
  if (!ticket) throw new Error("no ticket A");
  return ticket;
}

function litter(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" }).filter((name) => name.includes(".tmp-") || /trash\/./.test(name));
}

function json(file: string): Record<string, unknown> {
  return JSON.parse(readFileSync(file, "utf8"));
}

function expectExpected(thrown: unknown, { code }: Fault): void {
  if (thrown === undefined || hasCode(thrown, code)) return;
  if (code === "EEXIST" && thrown instanceof Fenced) return;
  expect((thrown as Error).message).toContain(code);
}

// Whether bytes survive a loss of power is not asked here, so that nothing has to wait for a real disk.
beforeEach(() => {
  if (existsSync("/dev/shm")) vi.stubEnv("TMPDIR", "/dev/shm");
  onTestFinished(() => void vi.unstubAllEnvs());
});

describe.each(faults)("P5 the disk fails with $code $extent", (fault) => {
  it.each([
    ["first", 0],
    ["second", 1],
  ])("at any call of a ticket's %s commit: the old or the new revision is there, whole", async (_, before) => {
    await everyCall(async (failing) => {
      const stateDir = newState();
      const index = openIndex(stateDir, { writer: true });
      for (let run = 1; run <= before; run++) await index.commit("p", { ...ticketA(index), runs: run });
      const next = { ...ticketA(index), runs: before + 1 };
      const { thrown, reached } = await withFault(failing, fault, () => index.commit("p", next));
      expectExpected(thrown, fault);
      const where = `call ${failing}, thrown ${thrown}`;
      let goesOn = before + 1;
      if (fault.extent === "once" && !(thrown instanceof Fenced)) {
        // The same process goes on: the refused commit is made again.
        if (thrown) expect(ticketA(index).runs, where).toBe(before);
        await index.poll();
        await index.commit("p", { ...ticketA(index), runs: before + 2 });
        goesOn = before + 2;
      }
      const restarted = await afterRestart(stateDir);
      const { runs, title } = ticketA(restarted);
      expect(thrown && goesOn === before + 1 ? [before, before + 1] : [goesOn], where).toContain(runs);
      const file = json(join(stateDir, "plans/p/tickets/A.json"));
      expect([file.title, file.runs ?? 0], where).toEqual(["a", runs]);
      expect([title, restarted.plans.get("p")?.tickets.get("A")?.problem, litter(stateDir)], where).toEqual(["a", null, []]);
      expect((await restarted.commit("p", { ...ticketA(restarted), runs: 9 })).runs, where).toBe(9);
      return reached;
    });
  });

  it("at any call of updatePlan: the old or the new plan is there, whole", async () => {
    await everyCall(async (failing) => {
      const stateDir = newState();
      const index = openIndex(stateDir, { writer: true });
      await index.updatePlan("p", { status: "draft" });
      const { thrown, reached } = await withFault(failing, fault, () => index.updatePlan("p", { status: "paused" }));
      expectExpected(thrown, fault);
      const where = `call ${failing}, thrown ${thrown}`;
      if (fault.extent === "once") {
        await index.poll();
        expect((await index.updatePlan("p", { status: "paused" })).status, where).toBe("paused");
      }
      const restarted = await afterRestart(stateDir);
      const plan = restarted.plans.get("p");
      const status = plan?.plan?.status;
      expect(thrown && fault.extent !== "once" ? ["draft", "paused"] : ["paused"], where).toContain(status);
      expect(json(join(stateDir, "plans/p/plan.json")), where).toEqual({ id: "p", milestone: "M1", tickets: [{ ticketId: "A" }], status });
      expect([plan?.problems, litter(stateDir)], where).toEqual([[], []]);
      return reached;
    });
  });

  it("at any call of folding an edit: it is folded by that process or by the next one", async () => {
    await everyCall(async (failing) => {
      const stateDir = newState();
      const index = openIndex(stateDir, { writer: true });
      await index.commit("p", { ...ticketA(index), runs: 1 });
      const file = join(stateDir, "plans/p/tickets/A.json");
      writeFileSync(file, JSON.stringify({ ...json(file), title: "b", status: "paused" }));
      const { value, thrown, reached } = await withFault(failing, fault, () => index.poll());
      if (thrown) expectExpected(thrown, fault);
      const where = `call ${failing}, thrown ${thrown}`;
      if (fault.extent === "once" && !(thrown instanceof Fenced)) {
        const told = [...(value ?? []), ...(await index.poll()), ...(await index.poll())];
        expect(
          told.flatMap(({ intents }) => intents ?? []).map(({ intent }) => intent.type),
          where,
        ).toEqual(["pause"]);
        expect([ticketA(index).title, index.plans.get("p")?.tickets.get("A")?.problem], where).toEqual(["b", null]);
      }
      const restarted = await afterRestart(stateDir);
      expect([ticketA(restarted).title, json(file).title, json(file).runs, litter(stateDir)], where).toEqual(["b", "b", 1, []]);
      return reached;
    });
  });

  it("at any call of an append to the journal: a record is there once and whole, or not at all", async () => {
    const at = "2026-11-21T12:00:00.000Z";
    await everyCall(async (failing) => {
      const file = join(tempDir(), "journal.jsonl");
      const first = openJournal(file);
      first.append({ at, type: "a" });
      await first.flush();
      const journal = openJournal(file);
      const { thrown, reached } = await withFault(failing, fault, async () => {
        openJournal(file);
        journal.append({ at, type: "b" });
        await journal.flush();
      });
      expectExpected(thrown, fault);
      if (fault.extent === "once") await journal.flush();
      const restarted = openJournal(file);
      const expected = readJournal(file, 0).length + 1;
      expect(restarted.append({ at, type: "c" })).toBe(expected);
      await restarted.flush();
      const types = readJournal(file, 0).map(({ seq, type }) => `${seq}${type}`);
      expect(
        thrown
          ? [
              ["1a", "2b", "3c"],
              ["1a", "2c"],
            ]
          : [["1a", "2b", "3c"]],
      ).toContainEqual(types);
      return reached;
    });
  });

  it("at any call of sendIntent: the intent waits in the inbox, whole, or not at all", async () => {
    const intent: Intent = { type: "resume", planId: "p", ticketId: "A", by: "ana" };
    await everyCall(async (failing) => {
      const home = tempDir();
      const first = await sendIntent(home, intent);
      const { value, thrown, reached } = await withFault(failing, fault, () => sendIntent(home, intent));
      expectExpected(thrown, fault);
      // Young ones stay: in another pid namespace their writer may live.
      for (const path of litter(home)) utimesSync(join(home, path), 0, 0);
      const waiting = await takeIntents(home);
      expect(waiting[0]).toEqual({ id: first, intent });
      const sent = waiting.slice(1);
      if (value !== undefined) expect(sent).toEqual([{ id: value, intent }]);
      else expect([[], [intent]]).toContainEqual(sent.map((pending) => pending.intent));
      for (const { id } of waiting) await answerIntent(home, id, { result: "applied", message: "" });
      expect([await takeIntents(home), await awaitAnswer(home, first, 0), litter(home)]).toEqual([
        [],
        { result: "applied", message: "" },
        [],
      ]);
      return reached;
    });
  });
});
