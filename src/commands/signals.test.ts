import { expect, it } from "vitest";
import { onStopSignals } from "./signals.ts";

it("tells also those who listen later of every signal, so that none is lost while the program starts", () => {
  const signals = onStopSignals();
  try {
    const heard: string[] = [];
    process.emit("SIGTERM", "SIGTERM");
    signals.listen(() => heard.push("first"));
    process.emit("SIGINT", "SIGINT");
    signals.listen(() => heard.push("second"));
    expect(heard).toEqual(["first", "first", "second", "second"]);
    expect(signals.ending()).toBe("interrupted");
  } finally {
    signals.close();
  }
});
