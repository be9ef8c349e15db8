import { describe, expect, it } from "vitest";
import { startGithub } from "../testing/github/server.ts";
import { addIssue } from "../testing/github/state.ts";
import { githubIssues } from "./github-issues.ts";

describe("issues of GitHub, through the real gh", () => {
  it("are read", async () => {
    const github = await startGithub();
    addIssue(github.state, { title: "First" });
    addIssue(github.state, { title: "Second", blockedBy: ["acme/widgets#1"] });
    expect(await githubIssues({ repo: "acme/widgets", env: github.env }).read()).toEqual({});
  });
});
