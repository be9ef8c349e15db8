import { expect, it } from "vitest";
import { outputProblem, schemaRequest } from "./output-schema.ts";

const schema = {
  type: "object",
  properties: { name: { type: "string" }, size: { type: "integer", minimum: 0 } },
  required: ["name"],
  additionalProperties: false,
};

it.each([
  ["plain", '{"name":"a","size":1}'],
  ["set off as code", '```json\n{"name":"a"}\n```\n'],
])("JSON that satisfies the schema, %s", (_, text) => {
  expect(outputProblem(schema, text)).toBeUndefined();
});

it.each([
  ["no JSON", "Done.", /is not the JSON/],
  ["JSON within prose", 'Here it is: {"name":"a"}', /is not the JSON/],
  ["a missing property", "{}", /name: /],
  ["a wrong type", '{"name":"a","size":"big"}', /size: /],
  ["an unknown property", '{"name":"a","more":1}', /more/],
])("%s does not", (_, text, problem) => {
  expect(outputProblem(schema, text)).toMatch(problem);
});

it("a schema that is none is the author's to mend", () => {
  expect(() => outputProblem({ $ref: "https://example.invalid/other.json" }, "{}")).toThrow(/The outputSchema cannot be used/);
});

it("an agent whose program takes no schema is told", () => {
  expect(schemaRequest({ type: "string" })).toContain('{\n  "type": "string"\n}');
});
