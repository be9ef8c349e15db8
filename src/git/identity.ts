import { type GitDir, git } from "./git.ts";

/** A person or program that a commit names. */
export interface Author {
  name: string;
  email: string;
}

export const ownIdentity: Author = { name: "orchestrator", email: "orchestrator@localhost" };

/** Environment that makes a commit name `author`, else the identity configured for the repository, else the orchestrator itself. */
export async function identityEnv(repo: GitDir, author?: Author): Promise<Record<string, string>> {
  const who = author ?? (await configuredIdentity(repo)) ?? ownIdentity;
  return { GIT_AUTHOR_NAME: who.name, GIT_AUTHOR_EMAIL: who.email, GIT_COMMITTER_NAME: who.name, GIT_COMMITTER_EMAIL: who.email };
}

async function configuredIdentity(repo: GitDir): Promise<Author | undefined> {
  const get = async (key: string) => (await git(repo, ["config", "--get", key], { okCodes: [0, 1] })).stdout.trim();
  const name = process.env.GIT_AUTHOR_NAME || (await get("user.name"));
  const email = process.env.GIT_AUTHOR_EMAIL || (await get("user.email"));
  return name && email ? { name, email } : undefined;
}
