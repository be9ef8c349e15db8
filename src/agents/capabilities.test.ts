import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { knownAdapters } from "./adapters.ts";
import type { Adapter } from "./agent.ts";
import { generic } from "./generic.ts";

const sessionIds = {
  chosen: "id chosen by the runner",
  path: "file in the run's folder",
  read: "id read from its stream",
  none: "none",
} as const;

const rows: [string, (adapter: Adapter) => string | boolean][] = [
  ["tested with", ({ probing }) => probing?.tested ?? ""],
  ["structured stream", ({ capabilities }) => capabilities.structuredStream],
  ["conversation", ({ capabilities }) => sessionIds[capabilities.sessionId]],
  ["resumes it", ({ capabilities }) => capabilities.resume],
  ["opens it for you", ({ capabilities }) => capabilities.interactiveResume],
  ["`model`", ({ capabilities }) => capabilities.model],
  ["`effort`", ({ capabilities }) => capabilities.effort],
  ["`maxTurns`", ({ capabilities }) => capabilities.maxTurns],
  ["`allowedTools`", ({ capabilities }) => capabilities.allowedTools],
  ["`readOnly`", ({ capabilities }) => capabilities.readOnly],
  ["`outputSchema`", ({ capabilities }) => capabilities.outputSchema],
  ["`mcpServers`", ({ capabilities }) => capabilities.mcpServers],
  ["stops at a cap of money", ({ capabilities }) => capabilities.maxUsd],
];

function table(): string {
  const adapters = [...knownAdapters, generic("other")];
  const head = ["", ...knownAdapters.map(({ provider }) => `\`${provider}\``), "anything else"];
  const text = (value: string | boolean) => (typeof value === "string" ? value : value ? "yes" : "no");
  const body = rows.map(([name, of]) => [name, ...adapters.map((adapter) => text(of(adapter)))]);
  return [head, head.map(() => "---"), ...body].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

it("docs/agents.md says what the adapters say they can do", async () => {
  const page = readFileSync(new URL("../../docs/agents.md", import.meta.url), "utf8");
  const [start, end] = ["<!-- capabilities, written by a test -->\n", "\n<!-- end -->"];
  const from = page.indexOf(start) + start.length;
  expect(from).toBeGreaterThan(start.length);
  const fresh = page.slice(0, from) + table() + page.slice(page.indexOf(end));
  await expect(fresh).toMatchFileSnapshot("../../docs/agents.md");
});
