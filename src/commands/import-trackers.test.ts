import { describe, expect, it } from "vitest";
import { importSource } from "../planner/import-source.ts";
import { testBench } from "../testing/bench.ts";
import { runCli } from "../testing/daemon.ts";
import { startGithub } from "../testing/github/server.ts";
import { addIssue, findIssue } from "../testing/github/state.ts";
import { testHome } from "../testing/home.ts";
import { addLinearIssue, startLinear } from "../testing/linear-server.ts";

async function withGithub() {
  const github = await startGithub();
  const home = testHome();
  Object.assign(home.env, github.env, { HOME: home.env.HOME });
  return { github, home };
}

describe("GitHub, through the real gh", () => {
  it("has 200 issues with dependencies that are imported twice into the same plan without a duplicate", async () => {
    const { github, home } = await withGithub();
    for (let number = 1; number <= 200; number++) {
      addIssue(github.state, {
        title: `Issue ${number}`,
        body: `What issue ${number} is about.\n\n- [ ] it holds for ${number}${number % 3 === 0 ? `\n\nDepends on #${number - 1}` : ""}`,
        labels: number % 10 === 0 ? ["bug", "P1"] : [],
        blockedBy: number > 1 && number % 2 === 0 ? [`acme/widgets#${number - 1}`] : [],
      });
    }
    const bench = testBench(home);
    const first = await importSource("github:acme/widgets", {}, bench);
    expect(first).toMatchObject({ result: "written", planId: "acme-widgets", items: { open: 200, done: 0, dropped: 0 } });
    expect(github.requests.length).toBeLessThan(10);
    const tickets = home.plan("acme-widgets").tickets as { ticketId: string; blockedBy: string[] }[];
    expect(tickets).toMatchObject(
      Array.from({ length: 200 }, (_, i) => ({
        ticketId: `GH-${i + 1}`,
        blockedBy: i > 0 && ((i + 1) % 2 === 0 || (i + 1) % 3 === 0) ? [`GH-${i}`] : [],
      })),
    );
    expect(home.ticket("acme-widgets", "GH-30")).toMatchObject({
      type: "bug",
      priority: "P1",
      acceptanceCriteria: ["it holds for 30"],
      source: { kind: "github", id: "acme/widgets#30" },
    });
    addIssue(github.state, { title: "Late", blockedBy: ["acme/widgets#200"] });
    Object.assign(findIssue(github.state, "acme/widgets#7")?.issue ?? {}, { state: "CLOSED", stateReason: "COMPLETED" });
    const second = await importSource("https://github.localhost/acme/widgets/issues?q=is:open", {}, bench);
    expect(second).toMatchObject({ result: "changed", added: ["GH-201"], changed: [], missing: ["GH-7"] });
    expect(second.findings.filter(({ rule }) => rule === "gone-at-source")).toMatchObject([
      { file: "https://github.localhost/acme/widgets/issues/7", message: expect.stringMatching(/^ticket "GH-7": it has not ended/) },
    ]);
    expect(await importSource("github:acme/widgets", {}, bench)).toMatchObject({ result: "unchanged", added: [], changed: [] });
    expect(home.plan("acme-widgets").tickets).toHaveLength(201);
  });

  it("is told what has become of its issues, once", async () => {
    const { github, home } = await withGithub();
    for (const title of ["First", "Second", "Third"]) addIssue(github.state, { title });
    const source = (number: number) => ({ kind: "github", id: `acme/widgets#${number}` });
    home.writePlan({ id: "shop" }, [
      { ticketId: "GH-1", source: source(1), status: "complete" },
      { ticketId: "GH-2", source: source(2), status: "failed", error: `the tests print ${github.env.GH_TOKEN}` },
      { ticketId: "GH-3", source: source(3) },
    ]);
    const said = () => [1, 2, 3].map((number) => findIssue(github.state, `acme/widgets#${number}`)?.issue);
    expect(await runCli(home, "sync", "shop")).toMatchObject({
      code: 0,
      stdout: "GitHub was told of 2 tickets:\n  GH-1  done\n  GH-2  failed\n",
    });
    expect(said()).toMatchObject([
      { state: "OPEN", comments: [{ body: expect.stringContaining("Done. Ticket shop/GH-1 is complete.") }] },
      { state: "OPEN", comments: [{ body: expect.stringContaining("Ticket shop/GH-2 failed: the tests print [redacted]") }] },
      { state: "OPEN", comments: [] },
    ]);
    const before = structuredClone(said());
    await runCli(home, "sync", "shop", "--close");
    expect(said()).toEqual(before);
  });
});

describe("Linear", () => {
  it("has 130 issues with blockers that are imported twice, through limits, into the same plan without a duplicate", async () => {
    const linear = await startLinear();
    const home = testHome();
    for (let number = 1; number <= 130; number++) {
      const inverseRelations = number > 1 ? [{ type: "blocks", identifier: `ENG-${number - 1}` }] : [];
      addLinearIssue(linear, { title: `Issue ${number}`, description: "- [ ] it holds", priority: 2, inverseRelations });
    }
    const errors = [{ message: "Rate limit exceeded", extensions: { code: "RATELIMITED" } }];
    const limited = { status: 400, headers: { "retry-after": "0" }, body: JSON.stringify({ errors }) };
    linear.failNext("none", limited, "none", limited);
    const bench = testBench(home, { env: { ...home.env, ...linear.env } });
    expect(await importSource("linear:ENG", {}, bench)).toMatchObject({ result: "written", planId: "engineering" });
    expect(home.plan("engineering").tickets).toMatchObject(
      Array.from({ length: 130 }, (_, i) => ({ ticketId: `ENG-${i + 1}`, blockedBy: i > 0 ? [`ENG-${i}`] : [] })),
    );
    expect(home.ticket("engineering", "ENG-7")).toMatchObject({ priority: "P1", acceptanceCriteria: ["it holds"] });
    addLinearIssue(linear, { title: "Late" });
    expect(await importSource("linear:eng", {}, bench)).toMatchObject({ result: "changed", added: ["ENG-131"], changed: [] });
    expect(await importSource("linear:ENG", {}, bench)).toMatchObject({ result: "unchanged" });
    expect(linear.requests).toHaveLength(5 + 3 + 3);
  });
});
