import type * as z from "zod";
import { PlanDraft, type TicketDraft } from "../domain/draft.ts";
import { loadConfig } from "../inputs/config.ts";
import type { Bench, Person } from "../planner/tool.ts";
import type { TestHome } from "./home.ts";

/** A bench over a test home, with nobody at the other end unless `more` says so. */
export function testBench(home: TestHome, more: Partial<Bench> = {}): Bench {
  const { config } = loadConfig({ env: home.env, cwd: home.dir });
  return { config, env: home.env, cwd: home.repo, by: "a test", ...more };
}

/** A person who gives these answers, in turn, and what was asked. */
export function testPerson(...answers: (boolean | string | undefined)[]): Person & { asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    async confirm(title, text) {
      asked.push(`${title}\n${text}`);
      return answers.shift() === true;
    },
    async ask(question, choices) {
      asked.push([question, ...choices].join("\n"));
      const answer = answers.shift();
      return typeof answer === "string" ? answer : undefined;
    },
  };
}

/** A draft "auth" of two tickets with nothing to find fault with, in this repository, with the given fields. */
export function goodDraft(repo: string, fields: Partial<z.input<typeof PlanDraft>> = {}): PlanDraft {
  return PlanDraft.parse({
    id: "auth",
    name: "Sign-in",
    goal: "People can sign in with a password.",
    repo,
    workflow: "local",
    tickets: [goodTicket("api"), goodTicket("ui", { blockedBy: ["api"] })],
    ...fields,
  });
}

/** A ticket with nothing to find fault with. */
export function goodTicket(id: string, fields: Partial<z.input<typeof TicketDraft>> = {}): z.input<typeof TicketDraft> {
  return {
    id,
    title: `Add the ${id} of the sign-in`,
    description: `The sign-in has no ${id} yet. It belongs into src/${id}, beside what is there for the sign-up, and follows its structure.`,
    acceptanceCriteria: [`A test in src/${id} signs in with a password and gets status 200`],
    scope: [`src/${id}/**`],
    type: "feature",
    ...fields,
  };
}
