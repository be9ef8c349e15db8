import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSchema, extendSchema, type GraphQLSchema, parse } from "graphql";

/**
 * What GitHub's schema has had since late 2025 and its published package does not have yet. Once it has, this is refused as a second
 * definition, and goes.
 */
const dependencies = `
  extend type Issue {
    blockedBy(after: String, before: String, first: Int, last: Int): IssueConnection!
  }
`;

/** GitHub's published GraphQL schema; `dependencies: false` for one that knows no dependencies between issues. */
export function githubSchema(options: { dependencies: boolean }): GraphQLSchema {
  const folder = dirname(fileURLToPath(import.meta.resolve("@octokit/graphql-schema")));
  const published = buildSchema(readFileSync(join(folder, "schema.graphql"), "utf8"), { noLocation: true, assumeValid: true });
  return options.dependencies ? extendSchema(published, parse(dependencies)) : published;
}
