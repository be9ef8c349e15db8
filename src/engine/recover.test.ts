import { describe, expect, it } from "vitest";
import type { ExitRecord, Observation } from "../domain/run.ts";
import { makeTicket } from "../testing/builders.ts";
import { type Recovery, recover } from "./recover.ts";

const at = "2026-01-01T00:00:00.000Z";
const runId = "0001-build";
const running = makeTicket({ currentPhase: "build", runs: 1, activity: { state: "running", runId, since: at } });
const stopping = makeTicket({ ...running, activity: { state: "running", runId, since: at, stop: { next: "again" } } });
const exit: ExitRecord = {
  schema: 1,
  runId,
  startedAt: at,
  endedAt: at,
  durationMs: 0,
  end: "exited",
  exitCode: 0,
  signal: null,
  message: null,
  stdoutTail: "",
  stderrTail: "",
  stdoutBytes: 0,
  stderrBytes: 0,
  agent: null,
  survivors: [],
};

describe("P5 what a daemon does with a run it finds", () => {
  const table: [string, Observation, Recovery][] = [
    ["unclaimed: revokes it, so that it never starts", { state: "unclaimed" }, { do: "revoke", runId }],
    [
      "revoked: costs no attempt",
      { state: "revoked" },
      { do: "event", event: { type: "interrupted", at, runId, reason: "It was never started." } },
    ],
    ["running: adopts it", { state: "running", pid: 7 }, { do: "adopt", runId, stopAgain: false }],
    ["finished: reads its result", { state: "finished", exit }, { do: "consume", runId, exit }],
    [
      "lost: counts it as lost",
      { state: "lost", reason: "the machine restarted" },
      { do: "event", event: { type: "lost", at, runId, reason: "the machine restarted" } },
    ],
    [
      "P6 lost, with processes that would not die: calls a person",
      { state: "lost", reason: "its supervisor was killed", survivors: [7, 8] },
      { do: "event", event: { type: "faulted", at, runId, reason: "Processes of the run would not die: 7, 8. End them, then retry." } },
    ],
  ];

  it.each(table)("%s", (_, found, recovery) => {
    expect(recover(running, found, at)).toEqual(recovery);
  });

  it("asks again for the stop of a run that was being stopped", () => {
    expect(recover(stopping, { state: "running", pid: 7 }, at)).toEqual({ do: "adopt", runId, stopAgain: true });
  });

  it.each(table)("%s — but leaves a ticket alone that is not running", (_, found) => {
    for (const state of [makeTicket(), makeTicket({ activity: { state: "ready", cause: "next" } })]) {
      expect(recover(state, found, at)).toEqual({ do: "nothing" });
    }
  });
});
