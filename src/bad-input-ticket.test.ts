import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { startDaemon } from "./testing/daemon.ts";
import { type TestHome, testHome } from "./testing/home.ts";
import { runHere } from "./testing/run-here.ts";
import { testRunner } from "./testing/runner.ts";
import { until } from "./testing/until.ts";

const flow = `name: one
phases:
  - { id: work, type: script, command: work.sh, args: ["{{ title }}"], onSuccess: done }
  - { id: done, type: terminal }
`;

interface TicketHome extends TestHome {
  file(id: string): string;
  text(id: string): string;
  set(id: string, fields: object): void;
  cli(...args: string[]): Promise<{ code: number | null; said: string }>;
}

/** A home whose work writes its one argument to `<dir>/arg-<ticket>`, and waits for as long as the file `hold` exists. */
function ticketHome(): TicketHome {
  const home = testHome();
  home.writeWorkflow("one.yaml", flow);
  home.writeScript("work.sh", `printf %s "$1" > ${home.dir}/arg-$ORCH_TICKET\nwhile [ -e ${home.dir}/hold ]; do sleep 0.02; done\n`);
  const file = (id: string) => join(home.home, "state/plans/p/tickets", `${id}.json`);
  const text = (id: string) => readFileSync(file(id), "utf8");
  return {
    ...home,
    file,
    text,
    set: (id, fields) => writeFileSync(file(id), JSON.stringify({ ...(JSON.parse(text(id)) as object), ...fields }, null, 2)),
    async cli(...args) {
      const { code, stdout, stderr } = await runHere({ env: home.env, cwd: home.dir }, ...args);
      return { code, said: (stdout + stderr).replaceAll(home.dir, "DIR") };
    },
  };
}

type Damage = (home: TicketHome, id: string) => void;
const replace =
  (from: string | RegExp, to: string): Damage =>
  (home, id) =>
    writeFileSync(home.file(id), home.text(id).replace(from, to));
const whole =
  (bytes: (text: string) => string | Buffer): Damage =>
  (home, id) =>
    writeFileSync(home.file(id), bytes(home.text(id)));
const fields =
  (change: object): Damage =>
  (home, id) =>
    home.set(id, change);

const instead =
  (make: (file: string) => unknown): Damage =>
  (home, id) => {
    rmSync(home.file(id));
    make(home.file(id));
  };

/** Row of the table, what is done to the file, and what is said of it after its path. */
const unusable: Record<string, [Damage, RegExp]> = {
  "34-truncated": [whole((text) => text.slice(0, -20)), /:9:\d+\W+Unterminated string/],
  "34-trailing-comma": [replace(/\n}$/, ",\n}"), /:10:1\W+Expected double-quoted property name/],
  "34-comment": [replace("{", "{ // note"), /:1:3\W+Expected property name/],
  "34-utf-16": [whole((text) => Buffer.from(`\ufeff${text}`, "utf16le")), /\W+is UTF-16 or binary/],
  "34-latin-1": [whole((text) => Buffer.from(text.replace("queued", "caf\u00e9"), "latin1")), /\W+is not valid UTF-8/],
  "35-empty": [whole(() => ""), /:1:1\W+the file is empty/],
  "35-null": [whole(() => "null"), /\W+this is not a JSON object/],
  "35-a-folder": [instead((file) => mkdirSync(file)), /\W+this is a folder/],
  "35-a-fifo": [instead((file) => execFileSync("mkfifo", [file])), /\W+this is not a regular file/],
  "35-a-link": [
    (home, id) => {
      renameSync(home.file(id), join(home.dir, "elsewhere.json"));
      symlinkSync(join(home.dir, "elsewhere.json"), home.file(id));
    },
    /\W+this is a symbolic link/,
  ],
  "36-other-id": [fields({ ticketId: "OTHER" }), /:\d+:3\W+ticketId: is OTHER.*the file's name says 36-other-id; make them equal/],
  "36-other-plan": [fields({ planId: "other" }), /:\d+:3\W+planId: is other.*the folder's name says p/],
  "31-newer": [fields({ schema: 9 }), /\W+schema 9 needs a newer orchestrator/],
  "39-5-MB": [fields({ description: "x".repeat(5e6) }), /\W+larger than 4 MiB/],
  "39-long-text": [fields({ description: "x".repeat(300 * 1024) }), /:\d+:3\W+description: Too big: expected string to have <=262144/],
  "39-long-list": [
    fields({ acceptanceCriteria: Array(100_000).fill("works") }),
    /:\d+:3\W+acceptanceCriteria: 500000 characters are more than the 262144 allowed/,
  ],
  "40-nul": [fields({ title: "a\0b" }), /:\d+:3\W+title: holds a NUL character/],
  "43-proto": [replace("{", '{"__proto__": {"status": "complete"},'), /\W+__proto__: this key is not allowed/],
  "43-overflow": [replace("{", '{"size": 1e999,'), /\W+size: number out of range/],
  "43-types": [fields({ title: 5, status: "done" }), /:\d+:3\W+title: .*expected string, received number; status: /],
};

describe("ticket files", () => {
  it("31 34 35 36 39 40 43 that cannot be used hold their ticket, named, untouched, while the good ones complete", async () => {
    const home = ticketHome();
    const ids = Object.keys(unusable);
    home.writePlan(
      { id: "p", workflow: "one" },
      [...ids, "BOM", "DOUBLE", "GOOD"].map((ticketId) => ({ ticketId })),
    );
    for (const [id, [damage]] of Object.entries(unusable)) damage(home, id);
    whole((text) => `\ufeff${text}`)(home, "BOM");
    replace("{", '{\n  "title": "first",')(home, "DOUBLE");
    writeFileSync(join(home.home, "state/plans/p/tickets", "bad id.json"), "{}");
    const regular = ids.filter((id) => lstatSync(home.file(id)).isFile());
    const before = regular.map((id) => readFileSync(home.file(id)).toString("base64"));
    const checkDouble = await home.cli("check");
    expect(checkDouble.said).toMatch(
      /^warning: .*DOUBLE\.json:4:3 {2}title: is there twice; the last one counts — fix: remove the others/m,
    );

    const daemon = await startDaemon(home);
    const isDone = (id: string) => {
      try {
        return (JSON.parse(home.text(id).replace("\ufeff", "")) as { status: string }).status === "complete";
      } catch {
        // For an instant a public file is missing while its successor takes its place.
        return false;
      }
    };
    await until(() => ["BOM", "DOUBLE", "GOOD"].every(isDone), 30_000);
    await until(() => home.plan("p").status === "blocked");
    const status = await home.cli("status");
    const check = await home.cli("check");
    expect([status.code, check.code]).toEqual([0, 8]);
    for (const [id, [, words]] of Object.entries(unusable)) {
      const expected = new RegExp(`tickets/${id}\\.json${words.source}`);
      expect(status.said).toMatch(expected);
      expect(check.said).toMatch(expected);
    }
    expect(status.said).toContain("bad id.json: this name cannot be a ticket id");
    expect((await home.cli("why", "p", "34-truncated")).said).toContain("34-truncated.json:9:11: Unterminated string");
    expect((await home.cli("retry", "p", "34-truncated")).code).toBe(4);
    expect(regular.map((id) => readFileSync(home.file(id)).toString("base64"))).toEqual(before);
    expect(lstatSync(home.file("35-a-fifo")).isFIFO()).toBe(true);

    // Mended, they go on by themselves.
    writeFileSync(home.file("34-truncated"), JSON.stringify({ planId: "p", ticketId: "34-truncated" }));
    await until(() => isDone("34-truncated"));
    expect(await daemon.end("SIGTERM")).toBe(0);
  });

  it("34 35 a file that goes bad in the middle of a run leaves the run alone, and is not overwritten by its result", async () => {
    const home = ticketHome();
    writeFileSync(join(home.dir, "hold"), "");
    home.writePlan({ id: "p", workflow: "one" }, [{ ticketId: "A" }]);
    await startDaemon(home);
    await until(() => existsSync(join(home.dir, "arg-A")));
    const good = home.text("A");
    const bad = good.slice(0, -30);
    writeFileSync(home.file("A"), bad);
    // Older than the two seconds in which an editor may still be writing.
    utimesSync(home.file("A"), Date.now() / 1000 - 10, Date.now() / 1000 - 10);
    await until(async () => (await home.cli("status")).said.includes("A.json:"));
    expect((await home.cli("status")).said).toMatch(/A {2}running[\s\S]*broken: .*A\.json:\d+:\d+/);
    rmSync(join(home.dir, "hold"));
    await until(async () => (await home.cli("status", "--json")).said.includes('"status": "complete"'));
    expect(home.text("A")).toBe(bad);
    expect(home.plan("p").status).not.toBe("complete");
    writeFileSync(home.file("A"), good);
    await until(() => home.plan("p").status === "complete");
  });

  it("37 38 44 a stale copy is merged, a status set by hand is refused with the way to do it, an unknown phase is listed", async () => {
    const home = ticketHome();
    home.writePlan({ id: "p", workflow: "one" }, [
      { ticketId: "STALE" },
      { ticketId: "DONE" },
      { ticketId: "BORN", status: "running" },
      { ticketId: "PHASE", status: "ready", currentPhase: "gone" },
    ]);
    const stale = home.text("STALE");
    const { runner, settle } = await testRunner(home);
    await settle("p", { STALE: "complete", DONE: "complete", BORN: "complete" });
    const history = home.ticket("p", "STALE").phaseHistory;
    writeFileSync(home.file("STALE"), stale.replace('"description": ""', '"description": "added late"'));
    home.set("DONE", { status: "running", attempt: 7 });
    await until(async () => {
      await runner.tick();
      return home.ticket("p", "STALE").description === "added late" && home.ticket("p", "DONE").status === "complete";
    });
    expect(home.ticket("p", "STALE")).toMatchObject({ status: "complete", phaseHistory: history });
    const log = readFileSync(join(home.home, "logs", "p", "DONE.log"), "utf8");
    expect(log).toContain("status: running cannot be set by hand; to go on elsewhere set currentPhase, or run: orchestrator skip");
    expect(home.ticket("p", "PHASE")).toMatchObject({
      status: "needs_attention",
      error: 'Workflow "one" has no phase "gone"; it has work, done.',
    });
    const status = await home.cli("status");
    expect(status.said).toContain('has no phase "gone"; it has work, done.');
    expect((await home.cli("why", "p", "PHASE")).said).toContain("orchestrator retry p PHASE");
  });

  it.each([
    ["a command", '$(touch PWNED) `touch PWNED`"; touch PWNED; #'],
    ["an option", "-rf"],
    ["terminal sequences", "\u001b[31mred\u001b[0m \u001b]0;title\u0007"],
    ["a change of direction", "abc\u202egnp.exe"],
    ["a template", "{{ planId }}{% for %}"],
    ["line breaks", "first\nOK\r\nsecond"],
  ])("40 a title that is %s reaches the program as it is and the terminal harmless", async (_, title) => {
    const home = ticketHome();
    home.writePlan({ id: "p", workflow: "one" }, [{ ticketId: "A", title }]);
    const { settle } = await testRunner(home);
    await settle("p", { A: "complete" });
    expect(readFileSync(join(home.dir, "arg-A"), "utf8")).toBe(title);
    const shown = (await home.cli("status")).said + (await home.cli("why", "p", "A")).said;
    expect(shown.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\u202e]/u);
    expect(home.git("status", "--porcelain")).toBe("");
    expect(existsSync(join(home.repo, "PWNED"))).toBe(false);
  });
});
