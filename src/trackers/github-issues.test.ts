import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { UserError } from "../domain/errors.ts";
import {
  badGateway,
  lostAnswer,
  notPermitted,
  rateLimited,
  rateLimitedQuery,
  secondaryLimit,
  signInPage,
} from "../testing/github/faults.ts";
import { realGh } from "../testing/github/gh.ts";
import { type Fault, type Github, startGithub } from "../testing/github/server.ts";
import { addIssue, addRepository, findIssue } from "../testing/github/state.ts";
import { tempDir } from "../testing/temp.ts";
import { type GithubIssuesOptions, githubIssues } from "./github-issues.ts";
import type { Progress } from "./tracker.ts";

// On a machine without gh, the first time takes as long as its package needs to come.
beforeAll(realGh, 300_000);

const patience = { requestMs: 20_000, pauseMs: 10, writePauseMs: 0 };

function issuesOf(github: Github, options: Partial<GithubIssuesOptions> = {}) {
  return githubIssues({ repo: "acme/widgets", env: github.env, ...options, patience: { ...patience, ...options.patience } });
}

async function numbers(github: Github, options: Partial<GithubIssuesOptions>): Promise<string[]> {
  return (await issuesOf(github, options).read()).items.map(({ source }) => source.id.replace("acme/widgets", ""));
}

/** The error as a person sees it. */
async function failure(work: Promise<unknown>): Promise<{ message: string; hint: string | undefined; exit: string }> {
  const error = await work.then(
    () => new Error("it did not fail"),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof UserError)) throw error;
  return { message: error.message, hint: error.hint, exit: error.exit };
}

describe("issues of a GitHub repository, read through the real gh", () => {
  it("become items, whole", async () => {
    const github = await startGithub();
    addIssue(github.state, { title: "Lay the tracks", labels: ["bug", "p1"], milestone: "v1" });
    addRepository(github.state, "acme/gears");
    addIssue(github.state, { title: "Cut gears" }, "acme/gears");
    addIssue(github.state, { title: "Old gears", state: "CLOSED", stateReason: "COMPLETED" }, "acme/gears");
    addIssue(github.state, { state: "CLOSED", stateReason: "COMPLETED" });
    addRepository(github.state, "acme/vault", { forbidden: true });
    addIssue(github.state, {
      title: "Run trains (after acme/gears#1)",
      body: "Depends on #1, #2, #99 and acme/gears#2; it is blocked by https://github.localhost/acme/vault/issues/1",
      labels: [],
      blockedBy: ["acme/widgets#1", "acme/widgets#2"],
    });
    const url = "https://github.localhost/acme/widgets/issues";
    expect(await issuesOf(github).read()).toEqual({
      name: "acme/widgets",
      items: [
        {
          source: { kind: "github", id: "acme/widgets#1", url: `${url}/1` },
          title: "Lay the tracks",
          body: "",
          state: "open",
          labels: ["bug", "p1"],
          blockedBy: [],
          group: "v1",
        },
        {
          source: { kind: "github", id: "acme/widgets#3", url: `${url}/3` },
          title: "Run trains (after acme/gears#1)",
          body: "Depends on #1, #2, #99 and acme/gears#2; it is blocked by https://github.localhost/acme/vault/issues/1",
          state: "open",
          labels: [],
          blockedBy: ["acme/widgets#1", "acme/gears#1"],
        },
      ],
      findings: [],
    });
  });

  it("are chosen by state, labels, milestone and search", async () => {
    const github = await startGithub();
    addIssue(github.state, { labels: ["ui", "next up"], milestone: "v1" });
    addIssue(github.state, { labels: ["ui"], milestone: "v 2" });
    addIssue(github.state, { labels: ["ui", "next up"], state: "CLOSED", stateReason: "COMPLETED" });
    addIssue(github.state, { title: 'say "hello"', labels: ['a "b"'], state: "CLOSED", stateReason: "NOT_PLANNED" });
    expect(await numbers(github, {})).toEqual(["#1", "#2"]);
    expect(await numbers(github, { state: "all", labels: ["ui", "next up"] })).toEqual(["#1", "#3"]);
    expect(await numbers(github, { labels: ['a "b"'], state: "all" })).toEqual(["#4"]);
    expect(await numbers(github, { search: "hello", state: "all" })).toEqual(["#4"]);
    expect(await numbers(github, { search: "label:ui" })).toEqual(["#1", "#2"]);
    const { name, items } = await issuesOf(github, { milestone: "v 2" }).read();
    expect([name, items.map(({ source, group }) => [source.id, group])]).toEqual(["v 2", [["acme/widgets#2", "v 2"]]]);
    const closed = await issuesOf(github, { state: "closed" }).read();
    expect(closed.items.map(({ source, state }) => [source.id, state])).toEqual([
      ["acme/widgets#3", "done"],
      ["acme/widgets#4", "dropped"],
    ]);
  });

  it("are 200 with their dependencies in 4 requests, and found by a search page by page", async () => {
    const github = await startGithub();
    for (let number = 1; number <= 200; number++) {
      const blockedBy = [number - 1, number - 7, number - 50].filter((other) => other > 0).map((other) => `acme/widgets#${other}`);
      addIssue(github.state, { number, body: `Work ${number}. ${"x".repeat(2_000)}`, labels: number > 140 ? ["late"] : [], blockedBy });
    }
    const first = await issuesOf(github).read();
    expect(github.requests).toEqual(Array(4).fill("POST /graphql"));
    expect(first.items.map(({ blockedBy }) => blockedBy)).toEqual(
      [...github.state.repositories.values()].flatMap(({ issues }) => [...issues.values()].map(({ blockedBy }) => blockedBy)),
    );
    expect((await issuesOf(github, { labels: ["late"] }).read()).items).toEqual(first.items.slice(140));
    expect(github.requests).toHaveLength(6);
  });

  it("are fewer at a time where GitHub finds it too much", async () => {
    const github = await startGithub();
    for (let number = 1; number <= 60; number++) addIssue(github.state, { number });
    github.failNext(badGateway);
    expect(await numbers(github, {})).toHaveLength(60);
    expect(github.requests).toHaveLength(4);
  });

  it("are read without native dependencies where GitHub has none, with a word about it", async () => {
    const github = await startGithub({ dependencies: false });
    addIssue(github.state);
    addIssue(github.state, { body: "Blocked by #1" });
    const { items, findings } = await issuesOf(github).read();
    expect(items.map(({ blockedBy }) => blockedBy)).toEqual([[], ["acme/widgets#1"]]);
    expect(findings.map(({ rule, file }) => [rule, file])).toEqual([["no-dependencies", "acme/widgets"]]);
  });

  it("are not there: a finding says what was looked for", async () => {
    const github = await startGithub();
    const { items, findings } = await issuesOf(github, { labels: ["typo"] }).read();
    expect([items, findings]).toEqual([
      [],
      [
        {
          severity: "warning",
          rule: "nothing-read",
          file: "acme/widgets",
          message: 'no issue matches: repo:acme/widgets is:issue label:"typo" is:open sort:created-asc',
        },
      ],
    ]);
  });

  it("are too many for GitHub's search: it is said, not cut off", async () => {
    const github = await startGithub();
    for (let number = 1; number <= 1001; number++) addIssue(github.state, { number, labels: ["ui"] });
    expect(await failure(issuesOf(github, { labels: ["ui"] }).read())).toEqual({
      message: "1001 issues of acme/widgets match, and GitHub's search shows only 1000.",
      hint: "ask for less: a milestone, one more label, or in the search created:>2026-01-01",
      exit: "failed",
    });
  });

  it("have more blockers than are read: a finding says so", async () => {
    const github = await startGithub();
    const blockedBy = Array.from({ length: 101 }, () => `acme/widgets#${addIssue(github.state).number}`);
    addIssue(github.state, { blockedBy });
    const { items, findings } = await issuesOf(github).read();
    expect(items.at(-1)?.blockedBy).toHaveLength(100);
    expect(findings.map(({ rule, message }) => [rule, message])).toEqual([
      ["too-many-blockers", "it waits for 101 issues, of which 100 were read"],
    ]);
  });

  it("do not depend on what the user set for gh", async () => {
    const github = await startGithub();
    addIssue(github.state);
    const env = {
      ...github.env,
      GH_DEBUG: "api",
      DEBUG: "api",
      GH_FORCE_TTY: "100%",
      CLICOLOR_FORCE: "1",
      GH_PAGER: "false",
      GH_REPO: "x/y",
    };
    expect(await numbers(github, { env })).toEqual(["#1"]);
  });

  it("are found under each way to name a repository", async () => {
    const github = await startGithub();
    addIssue(github.state);
    const names = [
      "acme/widgets",
      "github.localhost/acme/widgets",
      "https://github.localhost/acme/widgets.git",
      "git@github.localhost:acme/widgets.git",
    ];
    for (const repo of names) expect(await numbers(github, { repo })).toEqual(["#1"]);
    expect(() => githubIssues({ repo: "widgets", env: {} })).toThrow('"widgets" does not name a repository on GitHub.');
  });
});

const inAnHour = () => new Date((Math.floor(Date.now() / 1000) + 3_600) * 1000).toISOString().slice(0, 13);

describe("a GitHub that does not answer as it should", () => {
  const passing: [what: string, fault: () => Fault, tries: number][] = [
    ["a limit that ends in a second", () => rateLimited(0), 2],
    ["a limit told with HTTP 200", () => rateLimitedQuery(0), 2],
    ["a pause that it asks for", () => secondaryLimit(1), 2],
    ["502", () => badGateway, 2],
    ["a page of HTML", () => signInPage, 2],
    ["a cut connection", () => "hang up", 2],
  ];
  it.each(passing)("is asked again after %s", async (_, fault, tries) => {
    const github = await startGithub();
    addIssue(github.state);
    github.failNext(fault());
    expect(await numbers(github, {})).toEqual(["#1"]);
    expect(github.requests).toHaveLength(tries);
  });

  it("is asked again after it hung", async () => {
    const github = await startGithub();
    addIssue(github.state);
    github.failNext("hang");
    expect(await numbers(github, { patience: { requestMs: 2_000 } })).toEqual(["#1"]);
  });

  const lasting: [what: string, fault: () => Fault, requests: number, message: RegExp, exit: string][] = [
    ["502", () => badGateway, 4, /^GitHub cannot be reached: it answered with HTTP 502: Something went wrong/, "tryLater"],
    ["a page of HTML", () => signInPage, 2, /^GitHub cannot be reached: it answered with something that is not JSON/, "tryLater"],
    ["cut connections", () => "hang up", 2, /^GitHub cannot be reached: .*(?:EOF|connect)/, "tryLater"],
    ["a limit for an hour", () => rateLimited(3_600), 1, /^GitHub's rate limit of this account is used up until \d{4}/, "tryLater"],
    ["a limit for an hour, HTTP 200", () => rateLimitedQuery(3_600), 1, /^GitHub's rate limit of this account is used up/, "tryLater"],
    ["a long pause", () => secondaryLimit(600), 1, /^GitHub asks for a pause \(secondary rate limit\) until/, "tryLater"],
    ["a permission that is missing", () => notPermitted, 1, /^GitHub does not allow that: Resource not accessible by/, "failed"],
  ];
  it.each(lasting)("ends with a clear word: %s", async (_, fault, requests, message, exit) => {
    const github = await startGithub();
    github.failAlways(fault());
    // Four times, unless a test says otherwise; each is a process.
    const told = await failure(issuesOf(github, { patience: requests === 2 ? { tries: 2 } : {} }).read());
    expect(told).toEqual({ message: expect.stringMatching(message), hint: expect.any(String), exit });
    if (told.message.includes("this account")) expect(told.message).toContain(inAnHour());
    expect(github.requests).toHaveLength(requests);
  });

  it("is given up when it hangs for ever", async () => {
    const github = await startGithub();
    github.failAlways("hang");
    expect(await failure(issuesOf(github, { patience: { requestMs: 300, tries: 2 } }).read())).toEqual({
      message: "GitHub cannot be reached: it did not answer within 0.3 s",
      hint: "check the network and the proxy (gh api user shows the same), then try again",
      exit: "tryLater",
    });
  });

  it("is not waited for once nobody wants the answer", async () => {
    const github = await startGithub();
    github.failAlways("hang");
    const reason = new Error("Ctrl-C");
    const controller = new AbortController();
    const reading = issuesOf(github).read(controller.signal);
    controller.abort(reason);
    await expect(reading).rejects.toBe(reason);
  });

  it("refuses a token that was revoked", async () => {
    const github = await startGithub();
    github.state.token = "gho_another";
    expect(await failure(issuesOf(github).read())).toEqual({
      message: "GitHub refused the credentials of gh (HTTP 401: Bad credentials).",
      hint: "renew the token in GH_TOKEN",
      exit: "failed",
    });
    expect(github.requests).toHaveLength(1);
  });

  it("shows no such repository", async () => {
    const github = await startGithub();
    for (const labels of [[], ["ui"]]) {
      expect(await failure(issuesOf(github, { repo: "acme/wodgets", labels }).read())).toEqual({
        message: "GitHub does not show acme/wodgets: Could not resolve to a Repository with the name 'acme/wodgets'.",
        hint: "correct the name, or give the account of gh access to it (gh auth status says which account that is)",
        exit: "notFound",
      });
    }
  });

  it("is not there", async () => {
    const github = await startGithub();
    const env = { ...github.env, http_proxy: "http://127.0.0.1:9" };
    const { message, exit } = await failure(issuesOf(github, { env }).read());
    expect([message, exit]).toEqual([expect.stringMatching(/^GitHub cannot be reached: .*(?:proxyconnect|error connecting)/), "tryLater"]);
  });
});

describe("a gh that cannot help", () => {
  it("is not installed", async () => {
    expect(await failure(githubIssues({ repo: "a/b", env: { PATH: tempDir() } }).read())).toEqual({
      message: "gh, the program that talks to GitHub, was not found on PATH.",
      hint: "install it from https://cli.github.com (2.23 or newer), then: gh auth login",
      exit: "failed",
    });
  });

  it("is not signed in", async () => {
    const github = await startGithub();
    expect(await failure(issuesOf(github, { env: { ...github.env, GH_TOKEN: undefined, GH_HOST: undefined } }).read())).toEqual({
      message: "gh is not signed in to GitHub.",
      hint: "run: gh auth login (or set GH_TOKEN)",
      exit: "failed",
    });
    expect(github.requests).toEqual([]);
  });

  it("is too old", async () => {
    const bin = tempDir();
    writeFileSync(join(bin, "gh"), "#!/bin/sh\necho 'unknown flag: --include' >&2\nexit 1\n");
    chmodSync(join(bin, "gh"), 0o755);
    expect(await failure(githubIssues({ repo: "a/b", env: { PATH: bin } }).read())).toEqual({
      message: "This gh is too old: unknown flag: --include",
      hint: "install it from https://cli.github.com (2.23 or newer), then: gh auth login",
      exit: "failed",
    });
  });
});

describe("what became of an issue", () => {
  const about = (number: number, status: Progress["status"], note?: string): Progress => ({
    source: { kind: "github", id: `acme/widgets#${number}` },
    status,
    ...(note ? { note } : {}),
  });
  const tell = (github: Github, progress: Progress[], closeDone = true) => issuesOf(github, { closeDone }).writeBack?.(progress);
  const seen = (github: Github, number = 1) => {
    const issue = findIssue(github.state, `acme/widgets#${number}`)?.issue;
    return { state: issue?.state, comments: issue?.comments.map(({ body }) => body.replace("<!-- orchestrator:progress -->\n", "* ")) };
  };

  it("is one comment, mended in place, and the issue is closed when it is done", async () => {
    const github = await startGithub();
    addIssue(github.state, { comments: [{ id: "acme/widgets#1/comment-1", author: "somebody", body: "Please!" }] });
    await tell(github, [about(1, "in_progress", "Ticket tracks.")]);
    expect(seen(github)).toEqual({ state: "OPEN", comments: ["Please!", "* orchestrator: In progress. Ticket tracks."] });
    await tell(github, [about(1, "failed", "Tests stay red.")]);
    expect(seen(github)).toEqual({ state: "OPEN", comments: ["Please!", "* orchestrator: Needs attention. Tests stay red."] });
    await tell(github, [about(1, "in_progress"), about(1, "done", "Merged.")]);
    expect(seen(github)).toEqual({ state: "CLOSED", comments: ["Please!", "* orchestrator: Done. Merged."] });
    expect(findIssue(github.state, "acme/widgets#1")?.issue.stateReason).toBe("COMPLETED");
  });

  it("is said once: repetition writes nothing, and an issue that a person opened again stays open", async () => {
    const github = await startGithub();
    addIssue(github.state);
    await tell(github, [about(1, "done", "Merged.")]);
    expect(github.requests).toHaveLength(3);
    Object.assign(findIssue(github.state, "acme/widgets#1")?.issue ?? {}, { state: "OPEN", stateReason: "REOPENED" });
    await tell(github, [about(1, "done", "Merged.")]);
    expect(github.requests).toHaveLength(4);
    expect(seen(github)).toEqual({ state: "OPEN", comments: ["* orchestrator: Done. Merged."] });
  });

  it("closes nothing unless that is asked for", async () => {
    const github = await startGithub();
    addIssue(github.state);
    await tell(github, [about(1, "done")], false);
    expect(seen(github)).toEqual({ state: "OPEN", comments: ["* orchestrator: Done."] });
  });

  it("is said once also where GitHub's answer was lost", async () => {
    const github = await startGithub();
    addIssue(github.state);
    github.failNext("none", lostAnswer, "none", lostAnswer);
    await tell(github, [about(1, "done")]);
    expect(seen(github)).toEqual({ state: "CLOSED", comments: ["* orchestrator: Done."] });
    // Look, close, look, comment, look.
    expect(github.requests).toHaveLength(5);
  });

  it("is found again behind two hundred comments, and not in the words of others", async () => {
    const github = await startGithub();
    const { comments } = addIssue(github.state);
    const comment = (author: string, body: string) => comments.push({ id: `acme/widgets#1/comment-${comments.length + 1}`, author, body });
    for (let i = 0; i < 200; i++) comment("somebody", "<!-- orchestrator:progress -->\nMe too");
    comment(github.state.viewer, "<!-- orchestrator:progress -->\norchestrator: In progress.");
    await tell(github, [about(1, "done")]);
    expect(comments.slice(199).map(({ body }) => body)).toEqual([
      "<!-- orchestrator:progress -->\nMe too",
      "<!-- orchestrator:progress -->\norchestrator: Done.",
    ]);
    expect(comments).toHaveLength(201);
  });

  it("is looked at for twenty issues at once", async () => {
    const github = await startGithub();
    const comment = (number: number) => ({
      id: `acme/widgets#${number}/comment-1`,
      author: github.state.viewer,
      body: "<!-- orchestrator:progress -->\norchestrator: Done.",
    });
    const progress = Array.from({ length: 50 }, (_, i) => about(i + 1, "done"));
    for (let number = 1; number <= 50; number++) addIssue(github.state, { number, comments: [comment(number)] });
    await tell(github, progress);
    expect(github.requests).toHaveLength(3);
  });

  it("is told of the others where an issue is gone", async () => {
    const github = await startGithub();
    addIssue(github.state);
    expect(await failure(Promise.resolve(tell(github, [about(7, "done"), about(1, "in_progress")])))).toEqual({
      message: "GitHub does not show acme/widgets#7, so nothing was written there.",
      hint: "they were deleted or moved, or the account of gh may not see them",
      exit: "notFound",
    });
    expect(seen(github).comments).toEqual(["* orchestrator: In progress."]);
  });
});
