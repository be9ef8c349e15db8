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

  it("takes a tool at work for no silence, however long it takes", async () => {
    let isBusy = true;
    const ended: unknown[] = [];
    const watchdog = startWatchdog({ wallMs: 60_000, idleMs: 400, isBusy: () => isBusy }, (...end) => ended.push(end));
    const begun = performance.now();
    await until(() => performance.now() - begun > 1500);
    expect(ended).toEqual([]);
    isBusy = false;
    await until(() => ended.length > 0);
    watchdog.stop();
    expect(ended).toEqual([["idle", 400]]);
  });

  it("gives a slow start longer than any later silence, within the wall time", async () => {
    const ends = async (limits: Parameters<typeof startWatchdog>[0], progress: boolean) => {
      const ended: unknown[] = [];
      const watchdog = startWatchdog(limits, (...end) => ended.push(end));
      if (progress) watchdog.progress();
      await until(() => ended.length > 0);
      watchdog.stop();
      return ended;
    };
    const limits = { wallMs: 1000, idleMs: 50, startMs: 300 };
    expect(await ends(limits, false)).toEqual([["idle", 300]]);
    expect(await ends(limits, true)).toEqual([["idle", 50]]);
    expect(await ends({ ...limits, idleMs: 400 }, false)).toEqual([["idle", 400]]);
    expect(await ends({ ...limits, wallMs: 200 }, false)).toEqual([["timeout", 200]]);
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
