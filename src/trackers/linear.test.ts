import { describe, expect, it } from "vitest";
import { UserError } from "../domain/errors.ts";
import { addLinearIssue, type LinearFault, type LinearServer, startLinear } from "../testing/linear-server.ts";
import { type LinearOptions, linear } from "./linear.ts";
import type { Progress } from "./tracker.ts";

const patience = { requestMs: 20_000, pauseMs: 10, writePauseMs: 0 };

function issuesOf(server: LinearServer, options: Partial<LinearOptions> = {}) {
  return linear({ team: "ENG", env: server.env, ...options, patience: { ...patience, ...options.patience } });
}

async function ids(server: LinearServer, options: Partial<LinearOptions> = {}): Promise<string[]> {
  return (await issuesOf(server, options).read()).items.map(({ source }) => source.id);
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

function limited(inSeconds: number, status = 400, headers: Record<string, string> = {}): LinearFault {
  const errors = [{ message: "Rate limit exceeded", extensions: { code: "RATELIMITED", statusCode: 429 } }];
  const spent = { "x-ratelimit-complexity-remaining": "0", "x-ratelimit-complexity-reset": String(Date.now() + inSeconds * 1000) };
  return { status, headers: { ...spent, ...headers }, body: JSON.stringify({ errors }) };
}

const badGateway: LinearFault = { status: 502, body: "<html>502</html>" };
const signInPage: LinearFault = { status: 200, body: "<!doctype html><title>Sign in</title>" };

describe("issues of Linear", () => {
  it("become items, whole", async () => {
    const server = await startLinear();
    addLinearIssue(server, {
      title: "Lay the tracks",
      description: "Two of *them*.",
      priority: 1,
      project: "Railway",
      labels: ["bug", "ui"],
    });
    addLinearIssue(server, { state: "done" });
    addLinearIssue(server, { state: "duplicate" });
    const cycle = { number: 7, name: null, isActive: true, isNext: false };
    const inverseRelations = ["ENG-1", "ENG-2", "ENG-3"].map((identifier) => ({ type: "blocks", identifier }));
    addLinearIssue(server, {
      title: "Run trains",
      priority: 4,
      cycle,
      inverseRelations: [...inverseRelations, { type: "related", identifier: "ENG-5" }],
    });
    addLinearIssue(server, { state: "triage" });
    expect(await issuesOf(server).read()).toEqual({
      name: "Engineering",
      items: [
        {
          source: { kind: "linear", id: "ENG-1", url: "https://linear.app/acme/issue/ENG-1" },
          title: "Lay the tracks",
          body: "Two of *them*.",
          state: "open",
          labels: ["bug", "ui"],
          blockedBy: [],
          priority: "P0",
          group: "Railway",
        },
        {
          source: { kind: "linear", id: "ENG-4", url: "https://linear.app/acme/issue/ENG-4" },
          title: "Run trains",
          body: "",
          state: "open",
          labels: [],
          blockedBy: ["ENG-1"],
          priority: "P3",
          group: "Cycle 7",
        },
      ],
      findings: [],
    });
    const { items } = await issuesOf(server, { state: "all" }).read();
    expect(items.map(({ source, state }) => [source.id, state])).toEqual([
      ["ENG-1", "open"],
      ["ENG-2", "done"],
      ["ENG-3", "dropped"],
      ["ENG-4", "open"],
      ["ENG-5", "open"],
    ]);
  });

  it("are chosen by team, project, cycle, labels and state", async () => {
    const server = await startLinear();
    server.state.projects.push("Railway");
    addLinearIssue(server, { project: "Railway", labels: ["ui", "Next"] });
    addLinearIssue(server, { cycle: { number: 7, name: "Spring", isActive: true, isNext: false }, labels: ["ui"] });
    addLinearIssue(server, { cycle: { number: 8, name: null, isActive: false, isNext: true }, state: "canceled" });
    expect(await ids(server, { team: "engineering" })).toEqual(["ENG-1", "ENG-2"]);
    expect(await ids(server, { project: "railway" })).toEqual(["ENG-1"]);
    expect(await ids(server, { cycle: "active" })).toEqual(["ENG-2"]);
    expect(await ids(server, { cycle: "spring" })).toEqual(["ENG-2"]);
    expect(await ids(server, { cycle: "next" })).toEqual([]);
    expect(await ids(server, { cycle: "8", state: "closed" })).toEqual(["ENG-3"]);
    expect(await ids(server, { labels: ["UI", "next"] })).toEqual(["ENG-1"]);
    expect((await issuesOf(server, { project: "railway" }).read()).name).toBe("Railway");
    expect((await issuesOf(server, { cycle: "active" }).read()).name).toBe("Engineering, cycle active");
    expect((await issuesOf(server, { labels: ["typo"] }).read()).findings).toEqual([
      { severity: "warning", rule: "nothing-read", file: "Linear", message: "no issue matches: team ENG, labels typo, state open" },
    ]);
  });

  it("are read over 3 pages and through a 429, the same each time, at half of what a query may cost", async () => {
    const server = await startLinear();
    for (let number = 1; number <= 130; number++) {
      const blockers = [number - 1, number - 40].filter((other) => other > 0);
      addLinearIssue(server, { inverseRelations: blockers.map((other) => ({ type: "blocks", identifier: `ENG-${other}` })) });
    }
    server.failNext("none", limited(3_600, 429, { "retry-after": "1" }), "none", limited(0));
    const first = await issuesOf(server).read();
    expect(server.requests.map(({ variables: { first: size, after } }) => [size, after])).toEqual([
      [50, null],
      [50, "50"],
      [50, "50"],
      [50, "100"],
      [50, "100"],
    ]);
    expect(first.items).toHaveLength(130);
    expect(first.items.at(-1)?.blockedBy).toEqual(["ENG-129", "ENG-90"]);
    expect(await issuesOf(server).read()).toEqual(first);
    expect(server.requests).toHaveLength(8);
    expect(server.dearest).toBeLessThan(6_000);
  });

  it("have all their blockers, however many", async () => {
    const server = await startLinear();
    const blockers = Array.from({ length: 75 }, () => addLinearIssue(server).identifier);
    addLinearIssue(server, { identifier: "ENG-76", inverseRelations: blockers.map((identifier) => ({ type: "blocks", identifier })) });
    expect((await issuesOf(server).read()).items.at(-1)?.blockedBy).toEqual(blockers);
  });

  it("are sent the key in the form that it has", async () => {
    const server = await startLinear();
    addLinearIssue(server);
    server.state.authorization = "Bearer lin_oauth_loopback";
    for (const LINEAR_API_KEY of ["lin_oauth_loopback", "Bearer lin_oauth_loopback", " lin_oauth_loopback\n"]) {
      expect(await ids(server, { env: { ...server.env, LINEAR_API_KEY } })).toEqual(["ENG-1"]);
    }
  });
});

describe("a Linear that does not answer as it should", () => {
  const passing: [what: string, fault: () => LinearFault][] = [
    ["a limit that ends soon", () => limited(0)],
    ["502", () => badGateway],
    ["a page of HTML", () => signInPage],
    ["a cut connection", () => "hang up"],
    ["no answer", () => "hang"],
  ];
  it.each(passing)("is asked again after %s", async (_, fault) => {
    const server = await startLinear();
    addLinearIssue(server);
    server.failNext(fault());
    expect(await ids(server, { patience: { requestMs: 1_000 } })).toEqual(["ENG-1"]);
    expect(server.requests).toHaveLength(2);
  });

  const lasting: [what: string, fault: () => LinearFault, requests: number, message: RegExp, exit: string][] = [
    ["502", () => badGateway, 4, /^Linear cannot be reached: it answered with HTTP 502$/, "tryLater"],
    ["a page of HTML", () => signInPage, 4, /^Linear cannot be reached: it answered with something that is not JSON/, "tryLater"],
    ["cut connections", () => "hang up", 4, /^Linear cannot be reached: ./, "tryLater"],
    ["no answer", () => "hang", 4, /^Linear cannot be reached: it did not answer within 0.2 s$/, "tryLater"],
    ["a limit for an hour", () => limited(3_600), 1, /^Linear's rate limit of this key is used up until \d{4}-/, "tryLater"],
    ["a limit for an hour, 429", () => limited(0, 429, { "retry-after": "3600" }), 1, /^Linear's rate limit of this key/, "tryLater"],
  ];
  it.each(lasting)("ends with a clear word: %s", async (_, fault, requests, message, exit) => {
    const server = await startLinear();
    server.failAlways(fault());
    const told = await failure(issuesOf(server, { patience: { requestMs: 200 } }).read());
    expect(told).toEqual({ message: expect.stringMatching(message), hint: expect.any(String), exit });
    expect(server.requests).toHaveLength(requests);
  });

  it("refuses a key that was revoked, and never shows it", async () => {
    const server = await startLinear();
    server.state.authorization = "lin_api_another";
    expect(await failure(issuesOf(server).read())).toEqual({
      message: "Linear refused the key: You need to authenticate.",
      hint: "renew LINEAR_API_KEY; a personal key begins with lin_api_, everything else is sent as an OAuth token",
      exit: "failed",
    });
    expect(server.requests).toHaveLength(1);
  });

  it("shows no such team or project", async () => {
    const server = await startLinear();
    addLinearIssue(server);
    const hint = "correct the name, or use a key of somebody who is a member there";
    const unknown = (what: string) => ({ message: `Linear does not show a ${what}.`, hint, exit: "notFound" });
    expect(await failure(issuesOf(server, { team: "OPS" }).read())).toEqual(unknown('team "OPS"'));
    expect(await failure(issuesOf(server, { project: "Ships" }).read())).toEqual(unknown('project "Ships"'));
  });

  it("is not there", async () => {
    const env = { LINEAR_API_KEY: "lin_api_x", LINEAR_API_URL: "http://127.0.0.1:9/graphql" };
    const { message, exit } = await failure(linear({ team: "ENG", env, patience }).read());
    expect([message, exit]).toEqual([expect.stringMatching(/^Linear cannot be reached: ./), "tryLater"]);
    expect(message).not.toContain("lin_api_x");
  });

  it("is not waited for once nobody wants the answer", async () => {
    const server = await startLinear();
    server.failAlways("hang");
    const reason = new Error("Ctrl-C");
    const controller = new AbortController();
    const reading = issuesOf(server).read(controller.signal);
    controller.abort(reason);
    await expect(reading).rejects.toBe(reason);
  });

  it("is not asked without a key, or for nothing in particular", async () => {
    const server = await startLinear();
    expect(() => linear({ team: "ENG", env: {} })).toThrow("There is no key for Linear.");
    expect((await failure(linear({ env: server.env }).read())).message).toBe("Nothing says which issues of Linear are meant.");
    expect(server.requests).toEqual([]);
  });
});

describe("what became of an issue of Linear", () => {
  const about = (identifier: string, status: Progress["status"], note?: string): Progress => ({
    source: { kind: "linear", id: identifier },
    status,
    ...(note ? { note } : {}),
  });
  const seen = ({ state }: LinearServer) => state.issues.map((one) => [one.state, ...one.comments.map(({ body }) => body)]);
  const tell = (server: LinearServer, ...progress: Progress[]) => issuesOf(server).writeBack?.(progress);

  it("moves it to the first state of the type that is meant, and is a comment", async () => {
    const server = await startLinear();
    addLinearIssue(server);
    await tell(server, about("ENG-1", "in_progress"));
    expect(seen(server)).toEqual([["doing", "orchestrator: In progress."]]);
    await tell(server, about("ENG-1", "failed", "Tests stay red."));
    await tell(server, about("ENG-1", "done", "Merged."));
    expect(seen(server)).toEqual([
      ["done", "orchestrator: In progress.", "orchestrator: Needs attention. Tests stay red.", "orchestrator: Done. Merged."],
    ]);
  });

  it("moves nothing backwards, and nothing out of a state that ends it", async () => {
    const server = await startLinear();
    for (const state of ["review", "done", "canceled", "triage"]) addLinearIssue(server, { state });
    await tell(server, ...server.state.issues.map(({ identifier }) => about(identifier, "in_progress")));
    expect(server.state.issues.map(({ state }) => state)).toEqual(["review", "done", "canceled", "doing"]);
  });

  it("is said once: repetition writes nothing, and an issue that a person moved stays there", async () => {
    const server = await startLinear();
    const issue = addLinearIssue(server);
    await tell(server, about("ENG-1", "done", "Merged."));
    issue.state = "review";
    await tell(server, about("ENG-1", "done", "Merged."));
    expect(seen(server)).toEqual([["review", "orchestrator: Done. Merged."]]);
    expect(server.requests.map(({ operation }) => operation)).toEqual(["Look", "Move", "Say", "Look"]);
  });

  it("is said once also where Linear's answer was lost", async () => {
    const server = await startLinear();
    addLinearIssue(server);
    const lost: LinearFault = { status: 502, body: "<html>502</html>", late: true };
    server.failNext("none", lost, "none", lost);
    await tell(server, about("ENG-1", "done"));
    expect(seen(server)).toEqual([["done", "orchestrator: Done."]]);
    expect(server.requests.map(({ operation }) => operation)).toEqual(["Look", "Move", "Look", "Say", "Look"]);
  });

  it("is told of the others where an issue is gone", async () => {
    const server = await startLinear();
    addLinearIssue(server);
    expect(await failure(Promise.resolve(tell(server, about("ENG-9", "done"), about("ENG-1", "done"))))).toEqual({
      message: "Linear does not show ENG-9, so nothing was written there.",
      hint: "they were deleted, or the key's owner may not see them",
      exit: "notFound",
    });
    expect(seen(server)).toEqual([["done", "orchestrator: Done."]]);
  });
});
