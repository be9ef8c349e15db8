import { expect, it } from "vitest";
import { lockFile, pinnedWorkflowFile, planDir, revFile, runDir, ticketFile, ticketLogFile } from "./layout.ts";

it("puts everything where the documentation says", () => {
  expect([
    lockFile("/h"),
    runDir("/h", { planId: "p", ticketId: "T-1", runId: "0007-implement" }),
    ticketLogFile("/h", "p", "T-1"),
    ticketFile("/s", "p", "T-1"),
    revFile("/s", "p", "T-1", 12),
    pinnedWorkflowFile("/s", "p", "standard", "abc123"),
  ]).toEqual([
    "/h/lock/daemon.lock",
    "/h/run/p/T-1/0007-implement",
    "/h/logs/p/T-1.log",
    "/s/plans/p/tickets/T-1.json",
    "/s/plans/p/.orch/revs/T-1/12.json",
    "/s/plans/p/workflows/standard.abc123.yaml",
  ]);
});

it("builds no path from what is no id", () => {
  for (const bad of ["..", "../x", "a/b", "", ".hidden", "nul", "a".repeat(65), "a\0b"]) {
    expect(() => planDir("/s", bad)).toThrow("is not a plan id");
    expect(() => ticketFile("/s", "p", bad)).toThrow("is not a ticket id");
    expect(() => runDir("/h", { planId: "p", ticketId: "T", runId: `0001-${bad}` })).toThrow("is not a run id");
  }
  expect(runDir("/h", { planId: "p", ticketId: "T", runId: `0001-${"a".repeat(64)}` })).toContain("0001-aaa");
});
