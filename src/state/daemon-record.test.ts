import { writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { readDaemonRecord, removeDaemonRecord, writeDaemonRecord } from "./daemon-record.ts";
import { daemonFile } from "./layout.ts";

it("keeps a record of who runs", async () => {
  const home = tempDir();
  expect(readDaemonRecord(home)).toBeUndefined();
  const record = { pid: 7, start: "1", bootId: "b", version: "0.1.0", since: "2026-11-21T12:00:00.000Z" };
  await writeDaemonRecord(home, record);
  expect(readDaemonRecord(home)).toEqual(record);
  await removeDaemonRecord(home);
  expect(readDaemonRecord(home)).toBeUndefined();
});

it("P10 refuses a record that no daemon wrote", () => {
  const home = tempDir();
  for (const text of ["[]", '{"pid": "7", "start": "1", "bootId": "b", "version": "1", "since": ""}', '{"pid": 7}']) {
    writeFileSync(daemonFile(home), text);
    expect(() => readDaemonRecord(home)).toThrow(`${daemonFile(home)}: this is not what a daemon writes`);
  }
});
