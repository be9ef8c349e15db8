import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSchema, type GraphQLSchema } from "graphql";

/** What GitHub's schema has had since late 2025 and its published package does not have yet. */
const dependencies = `
  extend type Issue {
    blockedBy(after: String, before: String, first: Int, last: Int): IssueConnection!
  }
`;

/** GitHub's published GraphQL schema; `dependencies: false` for one that knows no dependencies between issues. */
export function githubSchema(options: { dependencies: boolean }): GraphQLSchema {
  const folder = dirname(fileURLToPath(import.meta.resolve("@octokit/graphql-schema")));
  const published = readFileSync(join(folder, "schema.graphql"), "utf8");
  if (/^ {2}blockedBy\(/m.test(published)) throw new Error("the published schema knows what blocks an issue: the addition to it can go");
  // Extending a schema that is built already takes as long again.
  return buildSchema(options.dependencies ? `${published}${dependencies}` : published, { noLocation: true, assumeValid: true });
}
