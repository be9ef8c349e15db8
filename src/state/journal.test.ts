import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { disk } from "./atomic-write.ts";
import { openJournal, readJournal } from "./journal.ts";

const at = "2026-11-21T12:00:00.000Z";

it("numbers records on through restarts and replays from any number", async () => {
  const file = join(tempDir(), "journal.jsonl");
  const first = openJournal(file);
  expect([first.append({ at, type: "a" }), first.append({ at, type: "b", ticketId: "T" })]).toEqual([1, 2]);
  await first.flush();
  const second = openJournal(file);
  expect(second.append({ at, type: "c" })).toBe(3);
  await second.flush();
  expect(readJournal(file, 2)).toEqual([
    { seq: 2, at, type: "b", ticketId: "T" },
    { seq: 3, at, type: "c" },
  ]);
  expect([readJournal(file, 4), readJournal(join(tempDir(), "none"), 0)]).toEqual([[], []]);
});

it("P5 a torn last line costs that line only", async () => {
  const file = join(tempDir(), "journal.jsonl");
  writeFileSync(file, `{"seq":1,"at":"${at}","type":"a"}\n{"seq":2,"at":"${at}","ty`);
  const journal = openJournal(file);
  expect(journal.append({ at, type: "c" })).toBe(2);
  await journal.flush();
  expect(readJournal(file, 0).map((entry) => [entry.seq, entry.type])).toEqual([
    [1, "a"],
    [2, "c"],
  ]);
  expect(readFileSync(file, "utf8").split("\n")).toHaveLength(4);
});

it("reads back over many blocks and lines longer than a block", async () => {
  const file = join(tempDir(), "journal.jsonl");
  const long = "é".repeat(100_000);
  for (let seq = 1; seq <= 30; seq++) appendFileSync(file, `${JSON.stringify({ seq, at, type: "x", long })}\n`);
  expect(openJournal(file).append({ at, type: "y" })).toBe(31);
  expect(
    readJournal(file, 29)
      .map((entry) => [entry.seq, entry.long === long])
      .slice(0, 2),
  ).toEqual([
    [29, true],
    [30, true],
  ]);
  expect(readJournal(file, 1)[0]?.seq).toBe(1);
});

it("writes records that a full disk refused with the next flush", async () => {
  const file = join(tempDir(), "journal.jsonl");
  const open = disk.open;
  onTestFinished(() => {
    disk.open = open;
  });
  const journal = openJournal(file);
  disk.open = async () => {
    throw Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
  };
  journal.append({ at, type: "a" });
  await expect(journal.flush()).rejects.toThrow("ENOSPC");
  disk.open = open;
  journal.append({ at, type: "b" });
  await journal.flush();
  expect(readJournal(file, 0).map((entry) => [entry.seq, entry.type])).toEqual([
    [1, "a"],
    [2, "b"],
  ]);
});
