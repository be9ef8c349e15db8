import { readFileSync, writeFileSync } from "node:fs";
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
  const daemon = { arguments: ["--agent", "pi"], cwd: "/", ready: true, service: null };
  await writeDaemonRecord(home, { ...record, daemon });
  expect(readDaemonRecord(home)).toEqual({ ...record, daemon });
  await removeDaemonRecord(home, record);
  expect(readDaemonRecord(home)).toBeUndefined();
});

it("P5 a daemon that another one took over from leaves that one's record alone", async () => {
  const home = tempDir();
  const other = { pid: 7, start: "1", bootId: "b", version: "0.1.0", since: "2026-11-21T12:00:00.000Z" };
  await writeDaemonRecord(home, other);
  for (const differing of [{ pid: 8 }, { start: "2" }, { bootId: "c" }]) await removeDaemonRecord(home, { ...other, ...differing });
  expect(readDaemonRecord(home)).toEqual(other);
  writeFileSync(daemonFile(home), "[]");
  await removeDaemonRecord(home, other);
  expect(readFileSync(daemonFile(home), "utf8")).toBe("[]");
});

it("P10 refuses a record that no daemon wrote", () => {
  const home = tempDir();
  const good = '"pid": 7, "start": "1", "bootId": "b", "version": "1", "since": ""';
  for (const text of [
    "[]",
    `{${good}, "daemon": {"arguments": [1], "cwd": "/", "ready": true, "service": null}}`,
    '{"pid": "7", "start": "1", "bootId": "b", "version": "1", "since": ""}',
    '{"pid": 7}',
  ]) {
    writeFileSync(daemonFile(home), text);
    expect(() => readDaemonRecord(home)).toThrow(`${daemonFile(home)}: this is not what a daemon writes`);
  }
});
