import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { createLogger, ticketLog } from "./logger.ts";

const quiet = { console: false, level: "info", secrets: [] };

function jsonLines(file: string): unknown[] {
  return readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

const anyTime = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

/** What a program that logs `statements` shows on stderr, its clock replaced by "HH:MM:SS". */
function onConsole(statements: string, env: Record<string, string> = {}): string {
  const program = `
    import { createLogger, ticketLog } from ${JSON.stringify(new URL("./logger.ts", import.meta.url).href)};
    const log = createLogger({ file: ${JSON.stringify(join(tempDir(), "logs/orchestrator.log"))}, console: true, level: "info", secrets: [] });
    ${statements}`;
  const ran = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    encoding: "utf8",
    env: { PATH: process.env.PATH, ...env },
  });
  expect(ran.stdout).toBe("");
  return ran.stderr.replace(/\d\d:\d\d:\d\d/g, "HH:MM:SS");
}

describe("createLogger", () => {
  it("writes JSON lines that only their owner may read", () => {
    const dir = join(tempDir(), "logs");
    const file = join(dir, "orchestrator.log");
    const log = createLogger({ ...quiet, file });
    log.debug("not at this level");
    log.info({ runs: 2 }, "daemon started");
    log.warn("careful");
    expect(jsonLines(file)).toEqual([
      { level: 30, time: anyTime, runs: 2, msg: "daemon started" },
      { level: 40, time: anyTime, msg: "careful" },
    ]);
    expect([statSync(dir).mode & 0o777, statSync(file).mode & 0o777]).toEqual([0o700, 0o600]);
  });

  it("copies what concerns a ticket into the ticket's own file, as plain lines", () => {
    const dir = tempDir();
    const log = createLogger({ ...quiet, file: join(dir, "orchestrator.log") });
    const about = ticketLog(log, "auth", "T-1");
    log.info("elsewhere");
    about.info("implement started");
    about.error({ err: new Error("exit 3") }, "implement failed");
    const file = join(dir, "auth/T-1.log");
    const lines = readFileSync(file, "utf8").replace(/^\S+Z/gm, "TIME");
    expect(lines).toBe("TIME implement started\nTIME error: implement failed: exit 3\n");
    expect([statSync(join(dir, "auth")).mode & 0o777, statSync(file).mode & 0o777]).toEqual([0o700, 0o600]);
    expect(jsonLines(join(dir, "orchestrator.log"))).toHaveLength(3);
  });

  it("P12 redacts every line before it is written anywhere", () => {
    const dir = tempDir();
    const log = createLogger({ ...quiet, file: join(dir, "orchestrator.log"), secrets: ["hunter2-hunter2"] });
    ticketLog(log, "auth", "T-1").info({ header: "x hunter2-hunter2" }, `pushing to https://me:pw@example.com with hunter2-hunter2`);
    expect(jsonLines(join(dir, "orchestrator.log"))).toEqual([
      {
        level: 30,
        time: anyTime,
        plan: "auth",
        ticket: "T-1",
        header: "x [redacted]",
        msg: "pushing to https://[redacted]@example.com with [redacted]",
      },
    ]);
    expect(readFileSync(join(dir, "auth/T-1.log"), "utf8")).toContain("pushing to https://[redacted]@example.com with [redacted]\n");
  });

  it("P7 sets a full file aside, keeps three, and cuts endless messages", () => {
    const dir = tempDir();
    const file = join(dir, "orchestrator.log");
    const log = createLogger({ ...quiet, file });
    for (const round of [1, 2, 3, 4, 5]) {
      log.info(`round ${round}`);
      truncateSync(file, 10 * 1024 * 1024);
    }
    log.info("x".repeat(1024 * 1024));
    expect(readdirSync(dir).sort()).toEqual(["orchestrator.log", "orchestrator.log.1", "orchestrator.log.2", "orchestrator.log.3"]);
    const rounds = [1, 2, 3].map((n) => /round \d/.exec(readFileSync(`${file}.${n}`, "utf8"))?.[0]);
    expect(rounds).toEqual(["round 5", "round 4", "round 3"]);
    expect(statSync(file).size).toBeLessThan(20 * 1024);
  });

  it("P5 outlives a log that cannot be written, and says afterwards what is missing", () => {
    const dir = tempDir();
    const file = join(dir, "logs/orchestrator.log");
    writeFileSync(join(dir, "logs"), "a file where the folder should be");
    const log = createLogger({ ...quiet, file });
    log.info("lost");
    log.info("lost too");
    rmSync(join(dir, "logs"));
    log.info("back");
    expect(jsonLines(file)).toEqual([
      { level: 40, time: anyTime, msg: "2 log lines could not be written" },
      { level: 30, time: anyTime, msg: "back" },
    ]);
  });

  it("P12 writes no ticket file for a name that leads out of the folder", () => {
    const dir = tempDir();
    mkdirSync(join(dir, "logs"));
    const log = createLogger({ ...quiet, file: join(dir, "logs/orchestrator.log") });
    ticketLog(log, "..", "evil").info("x");
    ticketLog(log, "auth", "../../evil").info("x");
    expect([readdirSync(dir), readdirSync(join(dir, "logs"))]).toEqual([["logs"], ["orchestrator.log"]]);
  });
});

describe("the console", () => {
  it("shows clock, ticket and message", () => {
    expect(
      onConsole('log.info("started"); ticketLog(log, "auth", "T-1").warn("retrying"); log.child({ plan: "auth" }).info("done");'),
    ).toBe("HH:MM:SS started\nHH:MM:SS [auth/T-1] retrying\nHH:MM:SS [auth] done\n");
  });

  it("colours where colours are shown, never with NO_COLOR or in a pipe", () => {
    const statement = 'log.error("broken");';
    expect(onConsole(statement, { FORCE_COLOR: "1" })).toBe("\x1b[2mHH:MM:SS\x1b[22m \x1b[31mbroken\x1b[39m\n");
    expect(onConsole(statement, { NO_COLOR: "1", TERM: "xterm-256color" })).toBe("HH:MM:SS broken\n");
    expect(onConsole(statement, { TERM: "xterm-256color" })).toBe("HH:MM:SS broken\n");
  });

  it("P12 shows nothing that a terminal would obey, and no line that looks like another", () => {
    const hostile = JSON.stringify(
      "\x1b[31mred\x1b[0m \x1b]0;title\x07bell\x07 back\b\x9b2J \u202eesrever\n12:00:00 [auth/T-2] merged\ttab\rover",
    );
    expect(onConsole(`log.info(${hostile});`)).toBe(
      "HH:MM:SS red bell\\u0007 back\\u0008 \\u202eesrever\n  HH:MM:SS [auth/T-2] merged\ttab\\u000dover\n",
    );
  });
});
