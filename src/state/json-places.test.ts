import { expect, it } from "vitest";
import { doubleMembers, placeOf } from "./json-places.ts";

const text = '{\n  "a": [1, {"b": "x, \\"y\\": {", "c": [[]]}],\n  "d": {"a": 2}\n}\n';

it.each<[(string | number)[], number, number]>([
  [["a"], 2, 3],
  [["a", 0], 2, 9],
  [["a", 1], 2, 12],
  [["a", 1, "c"], 2, 33],
  [["a", 1, "c", 0], 2, 39],
  [["d", "a"], 3, 9],
  [["d", "missing"], 3, 3],
  [["missing"], 1, 1],
])("%j is at line %i, column %i", (path, line, column) => {
  expect(placeOf(text, path)).toEqual({ line, column });
});

it("finds members that are there twice, and only those", () => {
  expect(doubleMembers(text)).toEqual([]);
  expect(doubleMembers('{"a": 1, "b": {"a": 1},\n "\\u0061": 2, "c": [{"x": 1}, {"x": 2}]}')).toEqual([{ field: "a", line: 2, column: 2 }]);
});
