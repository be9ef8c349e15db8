import { writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { stopFile } from "./layout.ts";
import { readStopRequest, removeStopRequest, type StopRequest, writeStopRequest } from "./stop-request.ts";

it("keeps the latest request until it is forgotten", async () => {
  const home = tempDir();
  expect(readStopRequest(home)).toBeUndefined();
  const request: StopRequest = { pid: 7, start: "1", bootId: "b", how: "drain" };
  await writeStopRequest(home, request);
  await writeStopRequest(home, { ...request, how: "detach" });
  expect(readStopRequest(home)).toEqual({ ...request, how: "detach" });
  await removeStopRequest(home);
  await removeStopRequest(home);
  expect(readStopRequest(home)).toBeUndefined();
});

it("P10 refuses what is no request", () => {
  const home = tempDir();
  for (const text of [
    "[]",
    "{}",
    '{"pid": 7, "start": "1", "bootId": "b", "how": "gently"}',
    '{"pid": "7", "start": "1", "bootId": "b", "how": "now"}',
  ]) {
    writeFileSync(stopFile(home), text);
    expect(() => readStopRequest(home)).toThrow(`${stopFile(home)}: this is no request to stop`);
  }
});
