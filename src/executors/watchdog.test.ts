import { describe, expect, it } from "vitest";
import { until } from "../testing/until.ts";
import { startWatchdog } from "./watchdog.ts";

describe("startWatchdog", () => {
  it("P7 a suspended machine is neither slow nor silent", async () => {
    let suspendedMs = 0;
    const ended: string[] = [];
    const watchdog = startWatchdog(
      { wallMs: 3000, idleMs: 300 },
      (kind) => ended.push(kind),
      () => performance.now() + suspendedMs,
    );
    suspendedMs = 8 * 3_600_000;
    await until(() => ended.length > 0);
    watchdog.stop();
    // Eight hours would have been too long for both limits; of its own time the run has only used up the shorter one.
    expect(ended).toEqual(["idle"]);
  });

  it("starts silence anew at each progress, but not the wall time", async () => {
    const ended: string[] = [];
    const watchdog = startWatchdog({ wallMs: 500, idleMs: 200 }, (kind) => ended.push(kind));
    await until(() => {
      watchdog.progress();
      return ended.length > 0;
    });
    expect(ended).toEqual(["timeout"]);
  });
});
