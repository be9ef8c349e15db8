import { execFileSync, spawn } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { makeHome, writePlan } from "./commands/cli-fixture.ts";
import { until } from "./testing/until.ts";

describe("usage", () => {
  it("a mistyped command ends with 2 and says what was meant", async () => {
    expect(await makeHome().run("statsu")).toEqual({
      code: 2,
      stdout: "",
      stderr: "error: Unknown command 'statsu'.\nhint:  did you mean status? orchestrator --help lists what there is\n",
    });
  });

  it("a mistyped option ends with 2 and says what was meant", async () => {
    const { code, stderr } = await makeHome().run("status", "--jsno");
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: "error: Unknown option '--jsno'.\nhint:  did you mean --json? orchestrator status --help lists what there is\n",
    });
  });

  it("--concurrency abc ends with 2", async () => {
    const { code, stderr } = await makeHome().run("daemon", "--concurrency", "abc");
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining("whole number from 1 to 64") });
  });

  it("errors are JSON on stdout with --json", async () => {
    const home = makeHome();
    writePlan(home);
    const { code, stdout, stderr } = await home.run("status", "--plan", "auht", "--json");
    expect({ code, stderr, answer: JSON.parse(stdout) }).toEqual({
      code: 3,
      stderr: "",
      answer: {
        apiVersion: "1",
        error: { code: "notFound", message: 'There is no plan "auht".', hint: 'did you mean "auth"? orchestrator status lists the plans' },
      },
    });
  });

  it("no configuration: says where it looked and what makes one", async () => {
    const { code, stderr } = await makeHome().run("status", "-C", "nowhere.yaml");
    expect({ code, stderr }).toEqual({ code: 3, stderr: expect.stringContaining("orchestrator init") });
  });

  it("a reader that goes away is a quiet end", async () => {
    const home = makeHome();
    for (let n = 0; n < 300; n++) home.write(`state/plans/p${n}/plan.json`, { id: `p${n}`, name: "x".repeat(400), repo: "/repo" });
    const [file, args] = home.argv("status");
    const child = spawn(file, args, { env: home.env, stdio: ["ignore", "pipe", "pipe"] });
    let stderr = "";
    child.stderr.on("data", (text) => {
      stderr += text;
    });
    child.stdout.once("data", () => child.stdout.destroy());
    const code = await new Promise((resolve) => child.on("close", resolve));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  });
});

describe("init", () => {
  it("makes a private home and never overwrites", async () => {
    const home = makeHome();
    const dir = join(home.dir, "new");
    const first = await home.run("init", "--dir", dir);
    expect({ code: first.code, mode: statSync(dir).mode & 0o777 }).toEqual({ code: 0, mode: 0o700 });
    const file = join(dir, "config.yaml");
    writeFileSync(file, `${readFileSync(file, "utf8")}# mine\n`);
    const second = await home.run("init", "--dir", dir);
    expect({ code: second.code, kept: readFileSync(file, "utf8").endsWith("# mine\n") }).toEqual({ code: 0, kept: true });
    expect((await home.run("status", "-C", file)).code).toBe(0);
  });
});

describe("status", () => {
  it("shows a queued ticket without open blockers as ready, and P10 what cannot be read", async () => {
    const home = makeHome();
    writePlan(home);
    home.write("state/plans/auth/tickets/T-3.json", '{"planId": nope');
    home.write("state/plans/bad/plan.json", "{");
    const { stdout, code } = await home.runWith({ NO_COLOR: "1" }, "status");
    expect(code).toBe(0);
    expect(stdout.replaceAll(home.dir, "HOME")).toMatchInlineSnapshot(`
      "Auth (auth)  active  flow  0/3 complete, 1 unreadable
        broken: HOME/state/plans/auth/plan.json: tickets/T-3.json is not in the plan's list (add it to tickets, or remove the file)
        T-1  ready       one (1/4)  Add the login form
        T-2  queued      one (1/4)  Remember who logged in
        T-3  unreadable
            broken: HOME/state/plans/auth/tickets/T-3.json:1:12: Unexpected token 'o' (correct the JSON; nothing of the file is used until then)

      bad  unreadable
        broken: HOME/state/plans/bad/plan.json:1:2: Expected property name or '}' (correct the JSON; nothing of the file is used until then)

      Daemon: not running
      "
    `);
  });

  it("counters agree with the rows in JSON", async () => {
    const home = makeHome();
    writePlan(home);
    const all = JSON.parse((await home.run("status", "--json")).stdout);
    const one = JSON.parse((await home.run("status", "--json", "--plan", "auth")).stdout);
    expect(all).toEqual([one]);
    expect(one.tickets.map((ticket: { ticketId: string; status: string }) => [ticket.ticketId, ticket.status])).toEqual([
      ["T-1", "ready"],
      ["T-2", "queued"],
    ]);
  });
});

describe("intents without a daemon", () => {
  it("pause, why, resume; the second resume is refused with 4", async () => {
    const home = makeHome();
    writePlan(home);
    expect(await home.run("pause", "T-1", "--reason", "later")).toMatchObject({
      code: 0,
      stdout: "Ticket auth/T-1 is paused in phase one.\n",
    });
    const why = JSON.parse((await home.run("why", "auth/T-1", "--json")).stdout);
    expect(why.data).toMatchObject({
      status: "paused",
      reasons: [{ code: "held", command: "orchestrator resume auth T-1" }, { code: "daemon_off" }],
    });
    expect((await home.run("resume", "auth", "T-1")).code).toBe(0);
    expect(await home.run("resume", "auth", "T-1")).toMatchObject({ code: 4, stderr: "error: Ticket auth/T-1 is not paused.\n" });
  });

  it("names that are not known end with 3, ids that cannot be with 2", async () => {
    const home = makeHome();
    writePlan(home);
    const codes = [];
    for (const args of [
      ["pause", "auth", "T-9"],
      ["skip", "auth", "T-1", "tow"],
      ["pause", "auth", "../x"],
      ["pause", "auth"],
      ["reject", "auth", "T-1"],
    ]) {
      codes.push((await home.run(...args)).code);
    }
    expect(codes).toEqual([3, 3, 2, 2, 2]);
  });
});

describe("working tickets", () => {
  it("run walks a ticket to its end and refuses one that is blocked or has ended", async () => {
    const home = makeHome();
    writePlan(home);
    expect(await home.run("run", "T-2")).toMatchObject({ code: 4, stderr: expect.stringContaining("it waits for T-1") });
    expect(await home.run("run", "auth", "T-1")).toMatchObject({ code: 0, stdout: "auth/T-1  complete\n" });
    expect((await home.run("run", "auth", "T-1")).code).toBe(4);
    const { stdout } = await home.run("logs", "auth", "T-1");
    expect(stdout).toContain("── 0002-two ──\n=== orchestrator test script ===");
  });

  it("tick runs one phase of every ready ticket", async () => {
    const home = makeHome();
    writePlan(home);
    expect(await home.run("tick")).toMatchObject({ code: 0, stdout: "auth/T-1  one  ready\n" });
    expect(await home.run("tick")).toMatchObject({ code: 0, stdout: "auth/T-1  two  complete\n" });
  });

  it("beside a daemon: intents reach it, tick and a second daemon end with 4, SIGTERM drains", async () => {
    const home = makeHome();
    const [file, args] = home.argv("daemon");
    const daemon = spawn(file, args, { env: home.env, stdio: "ignore" });
    const ended = new Promise((resolve) => daemon.on("close", resolve));
    try {
      await until(async () => (await home.run("status")).stdout.includes("Daemon: running"), 20_000, "a running daemon");
      home.write("state/plans/held/plan.json", {
        id: "held",
        repo: "/repo",
        workflow: "flow",
        status: "draft",
        tickets: [{ ticketId: "H-1" }],
      });
      home.write("state/plans/held/tickets/H-1.json", { planId: "held", ticketId: "H-1", status: "queued", currentPhase: "one" });
      await until(async () => (await home.run("pause", "H-1")).code === 0, 20_000, "a pause that the daemon applied");
      expect((await home.run("tick")).code).toBe(4);
      expect((await home.run("daemon")).code).toBe(4);
    } finally {
      daemon.kill("SIGTERM");
    }
    expect(await ended).toBe(0);
  });
});

describe("following", () => {
  it("logs --follow shows what is added, and Ctrl-C ends the following alone", async () => {
    const home = makeHome();
    writePlan(home);
    expect((await home.run("pause", "T-1")).code).toBe(0);
    const [file, args] = home.argv("logs", "auth", "T-1", "--follow");
    const follower = spawn(file, args, { env: home.env, stdio: ["ignore", "pipe", "inherit"] });
    const ended = new Promise((resolve) => follower.on("close", resolve));
    let shown = "";
    follower.stdout.on("data", (text) => {
      shown += text;
    });
    try {
      await until(() => shown.includes("paused one [paused]"));
      expect((await home.run("resume", "T-1")).code).toBe(0);
      await until(() => shown.includes("resumed one"));
    } finally {
      follower.kill("SIGINT");
    }
    expect(await ended).toBe(130);
  });

  it("status --watch shows a change and ends with Ctrl-C", async () => {
    const home = makeHome();
    writePlan(home);
    const [file, args] = home.argv("status", "--watch");
    const follower = spawn(file, args, { env: home.env, stdio: ["ignore", "pipe", "inherit"] });
    const ended = new Promise((resolve) => follower.on("close", resolve));
    let shown = "";
    follower.stdout.on("data", (text) => {
      shown += text;
    });
    try {
      await until(() => shown.includes("Daemon:"));
      expect((await home.run("pause", "T-1")).code).toBe(0);
      await until(() => shown.includes("T-1  paused"));
    } finally {
      follower.kill("SIGINT");
    }
    expect(await ended).toBe(0);
  });
});

describe("checking", () => {
  it("check ends with 8 and names file, line and column", async () => {
    const home = makeHome();
    writePlan(home);
    expect((await home.run("check")).stdout).not.toContain("T-1.json");
    const file = home.write("state/plans/auth/tickets/T-1.json", "{\n  nope");
    expect(await home.run("check")).toMatchObject({ code: 8, stdout: expect.stringContaining(`error: ${file}:2:3  `) });
  });

  it("doctor ends with 1 when the default agent is missing, and says how to mend it", async () => {
    const { code, stdout } = await makeHome().run("doctor", "--json");
    const agent = JSON.parse(stdout).data.checks.find((check: { name: string }) => check.name === "agent claude");
    expect({ code, agent }).toMatchObject({ code: 1, agent: { state: "fail", fix: expect.stringContaining("agents.claude") } });
  });

  it("workflow lint ends with 8 for a broken file", async () => {
    const home = makeHome();
    const file = home.write("broken.yaml", "name: broken\nphases:\n  - { id: a, type: script, command: run.sh, onSuccess: nowhere }\n");
    expect(await home.run("workflow", "lint", file)).toMatchObject({ code: 8, stdout: expect.stringContaining(`${file}:3:`) });
    expect((await home.run("workflow", "lint", "flow")).code).toBe(0);
  });

  it("workflow graph draws every edge", async () => {
    const { stdout } = await makeHome().run("workflow", "graph", "flow", "--format", "mermaid");
    expect(stdout).toMatchInlineSnapshot(`
      "flowchart TD
        p0["one<br/><i>script</i>"]
        p1["two<br/><i>script</i>"]
        p2(["done<br/><i>terminal</i>"])
        p3(["escalate<br/><i>terminal</i>"])
        p0 --> p1
        p0 -. failure .-> p3
        p1 --> p2
        p1 -. failure .-> p3
      "
    `);
  });
});

describe("completion", () => {
  it("the bash script parses and completes commands", async () => {
    const { stdout } = await makeHome().run("completion", "bash");
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a shell expansion
    const words = 'COMP_WORDS=(orchestrator res); COMP_CWORD=1; _orchestrator; echo "${COMPREPLY[*]}"';
    expect(execFileSync("bash", ["-c", `${stdout}\n${words}`], { encoding: "utf8" })).toBe(
      "restart resume resume-plan resume-session restore\n",
    );
  });

  it("every shell gets every command", async () => {
    const home = makeHome();
    for (const shell of ["zsh", "fish"]) {
      const { code, stdout } = await home.run("completion", shell);
      expect({ code, has: stdout.includes("resume-session") }).toEqual({ code: 0, has: true });
    }
  });
});
