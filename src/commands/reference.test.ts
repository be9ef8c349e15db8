import { join } from "node:path";
import { expect, it } from "vitest";
import { commands, globalOptions, jsonOption } from "./index.ts";
import { commandReference } from "./reference.ts";

it("docs/cli.md is the table of commands", async () => {
  const file = join(import.meta.dirname, "..", "..", "docs", "cli.md");
  await expect(commandReference({ commands, globalOptions, jsonOption })).toMatchFileSnapshot(file);
});
