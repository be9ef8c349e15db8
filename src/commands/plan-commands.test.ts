import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { makeHome, writePlan } from "./cli-fixture.ts";

it("cancel-plan ends every ticket, and says so when there is none left", async () => {
  const home = makeHome();
  writePlan(home);
  expect(await home.here("cancel-plan", "auth", "--reason", "not wanted")).toEqual({
    code: 0,
    stdout: '2 tickets of plan "auth" cancelled.\n',
    stderr: "",
  });
  const ticket = JSON.parse(readFileSync(join(home.dir, "state/plans/auth/tickets/T-2.json"), "utf8"));
  expect([ticket.status, ticket.error]).toEqual(["cancelled", "not wanted"]);
  expect(await home.here("cancel-plan", "auth")).toMatchObject({ code: 4, stderr: expect.stringContaining("all of them have ended") });
  expect(await home.here("cancel-plan", "auht")).toMatchObject({ code: 3, stderr: expect.stringContaining('did you mean "auth"?') });
});

it("workflow upgrade gives a plan the present text, and names the tickets in its way", async () => {
  const home = makeHome();
  writePlan(home);
  await home.here("pause", "auth", "T-1");
  expect(await home.here("workflow", "upgrade", "auth")).toMatchObject({ code: 0, stdout: expect.stringContaining("Nothing to do") });
  const flow = readFileSync(join(home.dir, "workflows/flow.yaml"), "utf8");
  home.write("workflows/flow.yaml", flow.replace("id: one", "id: first"));
  expect(await home.here("workflow", "upgrade", "auth")).toMatchObject({
    code: 4,
    stderr: expect.stringMatching(/T-1 in one, T-2 in one; its phases are first, two, done, escalate\.\n.*orchestrator skip auth T-1 two/s),
  });
  home.write("workflows/flow.yaml", flow.replace("two scripts", "two scripts, mended"));
  expect(await home.here("workflow", "upgrade", "auth", "flow")).toEqual({
    code: 0,
    stdout: 'Plan "auth" goes on under the present text of workflow "flow".\n',
    stderr: "",
  });
  expect(await home.here("workflow", "upgrade", "auth", "flow")).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("Nothing to do"),
  });
});

it("status and why show an edit that was refused", async () => {
  const home = makeHome();
  writePlan(home);
  await home.here("cancel", "auth", "T-1");
  const file = join(home.dir, "state/plans/auth/tickets/T-1.json");
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), status: "complete" }));
  // It looks at the disk once, and has nothing to start.
  await home.here("pause-plan", "auth");
  await home.run("tick");
  const refusal = "status: complete cannot be set by hand; to go on elsewhere set currentPhase, or run: orchestrator skip";
  const atGlance = await home.here("status", "--plan", "auth");
  expect(atGlance.stdout).toContain(`edit refused: ${refusal}`);
  const inFull = JSON.parse((await home.here("status", "--plan", "auth", "--json")).stdout);
  expect(inFull.tickets[0]).toMatchObject({ ticketId: "T-1", status: "cancelled", refusedEdit: refusal });
  expect((await home.here("why", "auth", "T-1")).stdout).toContain(`The last edit of its file was not followed. ${refusal}`);
  expect(JSON.parse((await home.here("why", "auth", "T-1", "--json")).stdout).data.reasons.at(-1)).toMatchObject({ code: "edit_refused" });
  await home.here("skip", "auth", "T-1", "two");
  expect((await home.here("status")).stdout).not.toContain("edit refused");
});
