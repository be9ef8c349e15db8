import { beforeEach, expect, it } from "vitest";
import type { PhaseOf } from "../domain/workflow.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { phaseContext } from "../testing/phase-context.ts";
import { programStart } from "./program-start.ts";

let home: TestHome;

beforeEach(() => {
  home = testHome();
});

const env = { PATH: "/bin", LANG: "C" };

it("runs a program without input, in plain text, for as long as phases may take", () => {
  const context = phaseContext<PhaseOf<"script">>(home, { type: "script", id: "build", command: "x.sh" });
  expect(programStart(context, env, { argv: ["true"], cwd: "/tmp" })).toEqual({
    kind: "run",
    spec: {
      schema: 1,
      planId: "p",
      ticketId: "T1",
      runId: "0001-build",
      phase: "build",
      phaseType: "script",
      argv: ["true"],
      cwd: "/tmp",
      envNames: ["PATH", "LANG"],
      stdin: "none",
      stdout: "pump",
      reader: null,
      wallMs: context.config.phaseTimeoutSeconds * 1000,
      idleMs: null,
      keepBytes: 8 * 1024 * 1024,
      stop: { signal: "SIGTERM", graceMs: 10_000 },
      data: {},
    },
    env,
    prompt: null,
  });
});

it("takes from the program what it names, and lets the phase bound its silence", () => {
  const phase = { type: "agent" as const, id: "build", promptTemplate: "x", timeoutSeconds: 5 };
  const program = {
    argv: ["claude"],
    cwd: "/tmp",
    prompt: "Do it.",
    stdout: "file" as const,
    reader: "claude",
    idleSeconds: 60,
    keepBytes: 1024,
    stop: { signal: "SIGINT" as const, graceMs: 1 },
    data: { head: "abc" },
    notes: ["a note"],
  };
  const { prompt, idleSeconds: _, notes, ...named } = program;
  const begin = (idle: object) => programStart(phaseContext<PhaseOf<"agent">>(home, { ...phase, ...idle }), env, program);
  expect(begin({})).toMatchObject({ spec: { ...named, stdin: "prompt", wallMs: 5000, idleMs: 60_000 }, prompt, notes });
  expect(begin({ idleTimeoutSeconds: 2 })).toMatchObject({ spec: { wallMs: 5000, idleMs: 2000 } });
});

it("bounds a look of a poll by the look's own timeout, not by the whole wait", () => {
  const context = phaseContext<PhaseOf<"poll">>(home, { type: "poll", id: "wait", command: "x.sh", timeoutSeconds: 900 });
  expect(programStart(context, env, { argv: ["true"], cwd: "/tmp" })).toMatchObject({ spec: { wallMs: 60_000, idleMs: null } });
});
