import { expect, it } from "vitest";
import { type Migration, migrate } from "./migrate.ts";

const steps: Migration[] = [
  ({ owner, ...rest }) => ({ ...rest, owners: [owner] }),
  (document) => ({ ...document, owners: (document.owners as string[]).map((name) => ({ name })) }),
];

it("takes a document through every step it has not seen, and no number for 1", () => {
  expect(migrate({ owner: "ana", x: 1 }, "f", steps)).toEqual({ schema: 3, owners: [{ name: "ana" }], x: 1 });
  expect(migrate({ schema: 2, owners: ["ana"] }, "f", steps)).toEqual({ schema: 3, owners: [{ name: "ana" }] });
  expect(migrate({ schema: 3, owners: [] }, "f", steps)).toEqual({ schema: 3, owners: [] });
});

it("P10 leaves files of a newer program alone", () => {
  expect(() => migrate({ schema: 4 }, "f", steps)).toThrow("schema 4 needs a newer orchestrator (this one knows 3)");
  expect(() => migrate({ schema: "2" }, "f", steps)).toThrow("schema: expected a whole number");
  expect(() => migrate([], "f", steps)).toThrow("not a JSON object");
});
