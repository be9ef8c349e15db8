import type { PlanDraft, TicketDraft } from "../domain/draft.ts";
import type { Finding, Problem } from "../domain/errors.ts";
import { inDraft, type Place } from "./check-draft.ts";
import { scopeOverlap } from "./scope-overlap.ts";

/** Beyond these, work is more than one agent does well at once, or than a person reads before saying yes. */
const most = { criteria: 10, description: 4000, tickets: 50 };
/** A description of fewer characters leaves out what somebody needs who was not there. */
const leastDescription = 80;

/** What makes a draft hard to work from or to judge; all of it are warnings. `place` as for checkDraft(). */
export function draftQuality(draft: PlanDraft, place: Place = inDraft(draft)): Finding[] {
  const problems = [
    ...planProblems(draft),
    ...draft.tickets.flatMap((ticket, i) => ticketProblems(ticket, ["tickets", i])),
    ...overlaps(draft),
    ...contradictions(draft),
  ];
  return problems.map(place);
}

function planProblems({ goal, tickets }: PlanDraft): Problem[] {
  const problems: Problem[] = [];
  if (goal.trim() === "")
    problems.push(warning("no-goal", ["goal"], "the plan does not say what it is for", "say in a sentence or two what and why"));
  if (tickets.length > most.tickets) {
    const fix = "plan the first part that is of use by itself, and the rest once that is done";
    problems.push(warning("large-plan", ["tickets"], `${tickets.length} tickets are more than anybody reads before saying yes`, fix));
  }
  const first = new Map<string, number>();
  for (const [i, { title }] of tickets.entries()) {
    const words = title.toLowerCase().replace(/\W+/g, " ").trim();
    const known = first.get(words);
    if (known === undefined) first.set(words, i);
    else {
      const message = `has the title of ticket "${tickets[known]?.id}"`;
      problems.push(warning("same-title", ["tickets", i, "title"], message, "leave one out, or say what tells them apart"));
    }
  }
  return problems;
}

function ticketProblems(ticket: TicketDraft, at: Problem["path"]): Problem[] {
  const { title, description, acceptanceCriteria, scope, type } = ticket;
  const problems: Problem[] = [];
  const warn = (rule: string, field: Problem["path"], message: string, fix: string) =>
    problems.push(warning(rule, [...at, ...field], message, fix));
  const second = secondThing(title);
  if (second !== undefined) {
    warn(
      "two-things",
      ["title"],
      `the title names two things ("${second}" is the second)`,
      "make a ticket of each, or name the one that both are for",
    );
  }
  if (description.trim().length < leastDescription) {
    const fix = "say what is wrong or missing, why, where in the code, and what was decided: whoever works it knows nothing else";
    warn("thin-description", ["description"], `${description.trim().length} characters say too little`, fix);
  }
  if (description.length > most.description) {
    const fix = "split the ticket, or keep the details in a file of the repository and name it";
    warn("long-description", ["description"], `${description.length} characters are more than one change needs`, fix);
  }
  const undecided = openQuestion(description);
  if (undecided !== undefined) warn("undecided", ["description"], `leaves a decision open: "${undecided}"`, "decide it, or ask the person");
  if (acceptanceCriteria.length === 0) {
    warn(
      "no-criteria",
      ["acceptanceCriteria"],
      "has no acceptance criteria",
      "say what can be observed once it is done, and what a test proves",
    );
  }
  if (acceptanceCriteria.length > most.criteria) {
    const message = `${acceptanceCriteria.length} acceptance criteria are more than one change has`;
    warn("many-criteria", ["acceptanceCriteria"], message, "split the ticket");
  }
  for (const [j, criterion] of acceptanceCriteria.entries()) {
    const vague = vagueWords(criterion);
    if (vague === undefined) continue;
    const fix = "name a command and its result, an input and its output, or the state of a file";
    warn("vague-criterion", ["acceptanceCriteria", j], `"${vague}" cannot be checked`, fix);
  }
  if (scope.length === 0 && type !== "spike") {
    warn("no-scope", ["scope"], "does not say which files it is to change", "list the globs of the files, as in src/auth/**");
  }
  return problems;
}

const vague = new RegExp(
  [
    "works? (?:well|fine|properly|correctly|great|as (?:expected|intended))",
    "(?:properly|appropriate(?:ly)?|adequate(?:ly)?|reasonabl[ey]|gracefully|nicely|cleanly|correctly|efficiently)",
    "etc\\.?",
    "and so on",
    "(?:user[- ]friendly|intuitive|robust|performant|scalable|maintainable|clean code|best practices?|high[- ]quality)",
    "(?:as|if|where) (?:needed|necessary|appropriate|possible)",
    "(?:is|are|be) (?:fast|good|nice|better|improved|easy|simple|complete|done|implemented)(?: enough)?",
    "looks? (?:good|nice|right)",
    "(?:tbd|todo|various|somehow|some kind of)",
  ]
    .map((words) => `\\b${words}(?![\\w-])`)
    .join("|"),
  "i",
);

/** What of a criterion says nothing that can be checked. Something exact beside it (code, a number, a quoted text) makes up for it. */
function vagueWords(criterion: string): string | undefined {
  const words = vague.exec(criterion)?.[0];
  if (words === undefined) return /\w+\W+\w+/.test(criterion) ? undefined : criterion;
  return /`[^`]+`|\d|"[^"]+"|'[^']{2,}'|→|->|=>/.test(criterion) ? undefined : words;
}

const openWords =
  /\b(?:tbd|to be (?:decided|determined|discussed|clarified)|open questions?|not (?:yet )?decided|decide (?:later|whether)|either [^.\n]{1,60}? or [^.\n]{1,60}|maybe|or something (?:like|similar)|\?\?\?)/i;

function openQuestion(description: string): string | undefined {
  return openWords.exec(description)?.[0].slice(0, 80);
}

const verbs =
  "add|allow|build|change|clean|convert|create|delete|deploy|document|drop|enable|extend|extract|fix|implement|improve|introduce|make|migrate|move|refactor|remove|rename|replace|rewrite|show|split|support|test|update|upgrade|write";
const twoThings = new RegExp(`^(?:\\w+: ?)?(?:${verbs})\\b.*?(?:\\band(?: also)?|\\bplus|;|,|&|\\+)\\s+((?:${verbs})\\b.*)$`, "i");

/** The second of two things that a title names. Tests and documentation of the first are part of it. */
function secondThing(title: string): string | undefined {
  const second = twoThings.exec(title)?.[1];
  return second === undefined || /^(?:test|document|add tests?|write tests?|update (?:the )?docs?)\b/i.test(second) ? undefined : second;
}

/** Tickets that may run side by side and change the same files. */
function overlaps(draft: PlanDraft): Problem[] {
  const { tickets } = draft;
  const before = reachable(tickets);
  const problems: Problem[] = [];
  for (const [i, ticket] of tickets.entries()) {
    if (ticket.scope.length === 0) continue;
    for (const other of tickets.slice(0, i)) {
      if ((ticket.repo ?? draft.repo) !== (other.repo ?? draft.repo)) continue;
      if (before.get(ticket.id)?.has(other.id) || before.get(other.id)?.has(ticket.id)) continue;
      const pair = scopeOverlap(ticket.scope, other.scope);
      if (!pair) continue;
      const message = `"${pair[0]}" meets "${pair[1]}" of ticket "${other.id}", and neither waits for the other`;
      const fix = `add "${other.id}" to blockedBy, or keep their files apart`;
      problems.push(warning("overlapping-scope", ["tickets", i, "scope"], message, fix));
    }
  }
  return problems;
}

/** By ticket, everything that has to be done before it. */
function reachable(tickets: readonly TicketDraft[]): Map<string, Set<string>> {
  const direct = new Map(tickets.map(({ id, blockedBy }) => [id, blockedBy]));
  return new Map(
    tickets.map(({ id }) => {
      const found = new Set<string>();
      const queue = [...(direct.get(id) ?? [])];
      for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
        if (found.has(next)) continue;
        found.add(next);
        queue.push(...(direct.get(next) ?? []));
      }
      return [id, found];
    }),
  );
}

/** A decision as a sentence states it. */
interface Decision {
  about: string;
  says: "yes" | "no" | string;
  text: string;
  at: Problem["path"];
  ticket: string;
}

const linking = "for|in|into|to|with|without|of|on|from|and|or|as|at|by|when|if|only|that|which|instead|anywhere|everywhere|here|there|yet";
const word = "[\\w@./-]*\\w";
const object = `(?:(?:the|a|an|any|all|our|existing|old|new)\\s+)*([\`"']?${word}[\`"']?(?:\\s+(?!(?:${linking})\\b)${word})?)`;
const forbids = new RegExp(
  `\\b(?:do not|don't|must not|never|no longer|stop)\\s+(?:use|using|keep|keeping|support|supporting|change|changing)\\s+${object}`,
  "gi",
);
const demands = new RegExp(`(?<!\\b(?:not|don't|never|longer|stop)\\s+)\\b(?:use|keep|support)\\s+${object}`, "gi");
const drops = new RegExp(`\\b(?:remove|delete|drop)\\s+${object}`, "gi");
/** Words that numbers follow which are no version of them. */
const unversioned = `(?:${linking}|is|than|least|most|about|over|under|within|below|above|section|chapter|figure|table|step|item)`;
const version = new RegExp(
  `(?<![\\w./-])(?!${unversioned}\\b)(@?[a-z][\\w./-]*[a-z])(?:@| v| version | )(\\d+(?:\\.\\d+){1,2})(?![\\w.]*\\w)`,
  "gi",
);

/** Two places that decide the same thing in different ways: somebody is going to undo what another one did. */
function contradictions({ tickets }: PlanDraft): Problem[] {
  const decisions = tickets.flatMap((ticket, i) =>
    [
      { text: ticket.description, at: ["tickets", i, "description"] },
      ...ticket.acceptanceCriteria.map((text, j) => ({ text, at: ["tickets", i, "acceptanceCriteria", j] })),
    ].flatMap(({ text, at }) => decisionsIn(text).map((found): Decision => ({ ...found, at, ticket: ticket.id }))),
  );
  const first = new Map<string, Decision>();
  const problems: Problem[] = [];
  for (const decision of decisions) {
    const known = first.get(decision.about);
    if (known === undefined) first.set(decision.about, decision);
    else if (known.says !== decision.says) {
      const message = `"${decision.text}" contradicts "${known.text}" of ticket "${known.ticket}"`;
      const fix = "decide one way, and say so in both; where one comes after the other on purpose, say that instead";
      problems.push({ ...warning("contradiction", decision.at, message, fix), other: known.at });
    }
  }
  return problems;
}

function decisionsIn(text: string): Pick<Decision, "about" | "says" | "text">[] {
  const found = (pattern: RegExp, says: string) =>
    [...text.matchAll(pattern)].map(([whole, about = ""]) => ({ about: `thing ${plain(about)}`, says, text: whole.replace(/\s+/g, " ") }));
  const versions = [...text.matchAll(version)].map(([whole, name = "", number = ""]) => ({
    about: `version of ${name.toLowerCase()}`,
    says: number,
    text: whole,
  }));
  return [...found(forbids, "no"), ...found(demands, "yes"), ...found(drops, "no"), ...versions];
}

function plain(words: string): string {
  return words
    .replace(/[`"']|[.,;:]+$/g, "")
    .replace(/\s+/g, " ")
    .toLowerCase();
}

function warning(rule: string, path: Problem["path"], message: string, fix: string): Problem {
  return { severity: "warning", rule, path, message, fix };
}
