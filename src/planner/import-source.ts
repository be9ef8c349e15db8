import { resolve } from "node:path";
import type { PlanDraft, Source } from "../domain/draft.ts";
import { type Finding, UserError } from "../domain/errors.ts";
import type { Ticket, TicketStatus } from "../domain/ticket.ts";
import { checkWorkflow } from "../engine/check-workflow.ts";
import type { PlanView } from "../engine/world.ts";
import { openRepo } from "../git/git.ts";
import { listWorkflows } from "../inputs/workflows.ts";
import type { SourceItem, SourceRead } from "../trackers/tracker.ts";
import { type Applied, applyDraft, mergeDraft } from "./apply-draft.ts";
import { labelRules } from "./label-rules.ts";
import { keyOf, type Mapped, mapItems, originOf, planIdOf, wantedItems } from "./map-items.ts";
import { type OpenedSource, openSource } from "./open-source.ts";
import { editedDraft, planDraftOf } from "./plan-draft.ts";
import { readPlans } from "./read-plans.ts";
import { settleDraft, usualWorkflow } from "./settle-draft.ts";
import type { Bench } from "./tool.ts";
import { findingsOf } from "./write-plan.ts";

export interface ImportOptions {
  /** Id of the plan; otherwise the one that has tickets of these items, or else their group or source names it. */
  plan?: string;
  /** Repository of the plan; otherwise the one that the source lies in, or else the one that was started from. */
  repo?: string;
  workflow?: string;
  /** Only the items of this milestone, project, cycle or category. */
  group?: string;
  /** Nothing is written. */
  dryRun?: boolean;
}

/** An item that became no ticket, with the ticket that it has from before. */
export interface Closed {
  source: Source;
  title: string;
  state: "done" | "dropped";
  ticketId?: string;
  status?: TicketStatus;
}

/** What came of it. */
export interface Imported extends Omit<Applied, "result" | "removed"> {
  /** `planned`: it was to be tried alone. `nothing`: nothing is open. */
  result: Applied["result"] | "planned" | "nothing";
  /** The source, spelt in full. */
  source: string;
  items: { open: number; done: number; dropped: number };
  closed: Closed[];
  draft?: PlanDraft;
}

/**
 * Reads a source and brings a plan in line with it, as `applyDraft` does: the second time nothing changes. Tickets are never taken off the
 * plan. UserError where the source cannot be read.
 */
export async function importSource(spelling: string, options: ImportOptions, bench: Bench): Promise<Imported> {
  const opened = openSource(spelling, bench);
  const read = await opened.tracker.read(bench.signal);
  const { planId, view } = presentPlan(read, options, bench);
  const workflows = listWorkflows(bench.config.workflowDirs, { check: checkWorkflow }).map(({ name }) => name);
  const present = [...(view?.tickets.values() ?? [])];
  const mapped = mapItems(read, {
    planId,
    spelling: opened.spelling,
    ...(options.workflow === undefined && view?.plan.workflow ? { workflow: view.plan.workflow } : workflowFor(options, workflows)),
    workflows,
    labels: labelRules(bench.config.importLabels),
    existing: present.map(({ ticketId, source }) => ({ ticketId, source })),
    ...(options.group === undefined ? {} : { group: options.group }),
  });
  const closed = mapped.closed.map((item) => closedItem(item, present));
  const findings = [...mapped.findings, ...closed.flatMap(closedFindings), ...goneFindings(read, present)];
  const count = (state: SourceItem["state"]) => mapped.closed.filter((item) => item.state === state).length;
  const items = { open: mapped.draft?.tickets.length ?? 0, done: count("done"), dropped: count("dropped") };
  const base = { planId, source: opened.spelling, items, closed };
  if (mapped.draft === undefined) {
    return { ...base, result: "nothing", message: "Nothing is open there, so nothing was done.", ...nothing, findings };
  }
  const draft = await draftFor(mapped.draft, { opened, view, options, bench });
  const applied = options.dryRun ? await planned(draft, view, bench) : await applyDraft(draft, bench);
  const { removed: _, ...rest } = applied;
  return { ...rest, ...base, draft, findings: [...findings, ...applied.findings] };
}

const nothing = { added: [], changed: [], left: [], missing: [] };

/** The plan that is meant, as it is where there is one. */
function presentPlan(read: SourceRead, options: ImportOptions, { config }: Bench): { planId: string; view: PlanView | undefined } {
  const world = readPlans(config);
  const planId = options.plan ?? homeOf(read, options.group, [...world.plans.values()]);
  const view = world.plans.get(planId);
  const broken = world.brokenPlans.get(planId);
  if (broken !== undefined) throw new UserError(`Plan "${planId}" cannot be read: ${broken}`, { exit: "invalid" });
  if (options.plan === undefined && view !== undefined) refuseOthers(view, read.items);
  return { planId, view };
}

/** The plan that has tickets of the items already, whatever they would name it now: another one would do their work twice. */
function homeOf(read: SourceRead, group: string | undefined, plans: readonly PlanView[]): string {
  const named = planIdOf(read, group);
  const keys = new Set(wantedItems(read, group).map(({ source }) => keyOf(source)));
  const isHome = ({ tickets }: PlanView) => [...tickets.values()].some(({ source }) => source && keys.has(keyOf(source)));
  const homes = plans.filter(isHome).map(({ plan }) => plan.id);
  if (homes.includes(named)) return named;
  const [home = named, ...others] = homes;
  if (others.length === 0) return home;
  throw new UserError(`Several plans have tickets of this source: ${homes.join(", ")}.`, {
    exit: "conflict",
    hint: "say with --plan which one is meant",
  });
}

/** A plan that nobody named has to be the one of this source: two sources may be called the same. */
function refuseOthers({ plan, tickets }: PlanView, items: readonly SourceItem[]): void {
  const here = new Set(items.map(({ source }) => placeOf(source)));
  if (here.size === 0 || [...tickets.values()].some(({ source }) => source && here.has(placeOf(source)))) return;
  throw new UserError(`There is a plan "${plan.id}" already, and none of its tickets is from this source.`, {
    exit: "conflict",
    hint: `name another plan with --plan; --plan ${plan.id} adds to this one`,
  });
}

/** The repository, team, file or folder that an item is from. */
function placeOf({ kind, id }: Source): string {
  return `${kind} ${(kind === "linear" ? id.replace(/-\d+$/, "") : originOf(id)).toLowerCase()}`;
}

function workflowFor({ workflow }: ImportOptions, workflows: readonly string[]): { workflow?: string } {
  if (workflow !== undefined) return { workflow };
  return workflows.includes(usualWorkflow) ? { workflow: usualWorkflow } : {};
}

interface Place {
  opened: OpenedSource;
  view: PlanView | undefined;
  options: ImportOptions;
  bench: Bench;
}

/** The draft with what the plan is to be given. What a plan that exists has been given stays unless somebody says otherwise now. */
async function draftFor(draft: NonNullable<Mapped["draft"]>, { opened, view, options, bench }: Place): Promise<PlanDraft> {
  const tickets = draft.tickets.map((ticket) => ({ ...ticket, ...knownSource(ticket.source, view) }));
  if (view === undefined) return { ...draft, tickets, repo: await repoFor(opened, options, bench) };
  const { repo: _repo, workflow: _workflow, ...rest } = draft;
  return {
    ...rest,
    name: "",
    goal: "",
    tickets,
    ...(options.repo === undefined ? {} : { repo: resolve(bench.cwd, options.repo) }),
    ...(options.workflow === undefined ? {} : { workflow: options.workflow }),
  };
}

/** A source whose name is spelt otherwise than before, such as a repository's, keeps the spelling that its ticket has. */
function knownSource(source: Source | undefined, view: PlanView | undefined): { source?: Source } {
  if (source === undefined) return {};
  const same = [...(view?.tickets.values() ?? [])].find((ticket) => ticket.source && keyOf(ticket.source) === keyOf(source));
  return { source: same?.source ? { ...source, id: same.source.id } : source };
}

async function repoFor({ dir }: OpenedSource, { repo }: ImportOptions, { cwd }: Bench): Promise<string> {
  if (repo !== undefined) return resolve(cwd, repo);
  for (const place of dir === undefined ? [cwd] : [dir, cwd]) {
    const found = await openRepo(place).catch((error) => {
      if (error instanceof UserError) return undefined;
      throw error;
    });
    if (found) return found.path;
  }
  throw new UserError(`Nothing says which repository this is about: ${dir ?? cwd} lies in none.`, {
    exit: "usage",
    hint: "name it with --repo, or start in it",
  });
}

function closedItem({ source, title, state }: SourceItem, present: readonly Ticket[]): Closed {
  const ticket = present.find((one) => one.source && keyOf(one.source) === keyOf(source));
  const known = ticket === undefined ? {} : { ticketId: ticket.ticketId, status: ticket.status };
  return { source, title, state: state === "dropped" ? "dropped" : "done", ...known };
}

const unwanted = "take the ticket off the plan, or cancel it, if nobody wants its work any more";
const ended: ReadonlySet<TicketStatus> = new Set(["complete", "skipped", "cancelled"]);

/** Whether a ticket's work is still wanted is for a person to say. */
function closedFindings({ source, state, ticketId, status }: Closed): Finding[] {
  if (ticketId === undefined || status === undefined || ended.has(status)) return [];
  const message = `${ticketId} is ${status}, and its source says that it is ${state}`;
  return [{ severity: "warning", rule: "closed-at-source", file: source.url ?? source.id, message, fix: unwanted }];
}

/** Tickets from the same place whose items were not read at all. */
function goneFindings({ items }: SourceRead, present: readonly Ticket[]): Finding[] {
  const read = new Set(items.map(({ source }) => keyOf(source)));
  const places = new Set(items.map(({ source }) => placeOf(source)));
  return present.flatMap(({ ticketId, source, status }): Finding[] => {
    if (source === null || ended.has(status) || read.has(keyOf(source)) || !(places.size === 0 || places.has(placeOf(source)))) return [];
    const message = `ticket "${ticketId}": it has not ended, and its item is not among what was read: closed, gone or filtered out`;
    return [{ severity: "warning", rule: "gone-at-source", file: source.url ?? source.id, message, fix: unwanted }];
  });
}

/** What applying the draft would do. */
async function planned(
  draft: PlanDraft,
  view: PlanView | undefined,
  bench: Bench,
): Promise<Omit<Applied, "result"> & { result: "planned" }> {
  const settled = settleDraft(draft, bench);
  const base = {
    result: "planned" as const,
    planId: draft.id,
    removed: [],
    message: "Nothing was written: this is what it would come to.",
  };
  if (view === undefined) {
    const added = settled.tickets.map(({ id }) => id);
    return { ...base, ...nothing, added, findings: await findingsOf(settled, bench) };
  }
  const { added, changed, left, missing, edits } = mergeDraft(view, settled, false);
  const findings = await findingsOf(editedDraft(planDraftOf(view), edits), bench, { view });
  const touched = new Set([...added, ...changed]);
  return {
    ...base,
    added,
    changed,
    left,
    missing,
    findings: findings.filter(({ message }) => [...touched].some((id) => message.startsWith(`ticket "${id}": `))),
  };
}
