import { createHash } from "node:crypto";
import { blockerCycles } from "../domain/blocker-cycles.ts";
import type { LabelRule } from "../domain/config.ts";
import type { PlanDraft, Source, TicketDraft } from "../domain/draft.ts";
import { type Finding, suggestion, UserError } from "../domain/errors.ts";
import { caseFold, idProblem } from "../domain/ids.ts";
import { criteriaOf } from "../trackers/criteria.ts";
import { slug } from "../trackers/markdown.ts";
import { blockerLines, blockersInTitle, splitTitle } from "../trackers/references.ts";
import type { SourceItem, SourceRead } from "../trackers/tracker.ts";
import { meaningOf, workflowOfType } from "./label-rules.ts";

const longestTitle = 300;
/** A ticket file holds no longer text, in characters. */
const longestDescription = 200_000;

/** What items become tickets of. */
export interface MapOptions {
  planId: string;
  /** How the source was named. */
  spelling: string;
  repo?: string;
  /** The plan's workflow. */
  workflow?: string;
  /** Names of all workflows that there are. */
  workflows: readonly string[];
  /** What the configuration says that labels mean (see labelRules). */
  labels: ReadonlyMap<string, LabelRule>;
  /** Tickets that the plan has already: an item keeps the id that it has there. */
  existing: readonly { ticketId: string; source?: Source | null | undefined }[];
  /** Items of this group alone. */
  group?: string;
}

/** What came of it. Without anything to do there is no draft. */
export interface Mapped {
  draft?: PlanDraft;
  /** Items that became no tickets because they are done or dropped. */
  closed: SourceItem[];
  findings: Finding[];
}

/** The id of the plan that items go to when nothing else names one: their group's where all that is open has the same one, else the source's. */
export function planIdOf(read: SourceRead, group: string | undefined): string {
  const groups = new Set(read.items.filter(({ state }) => state === "open").map((item) => item.group));
  const [only] = groups.size === 1 ? groups : [undefined];
  return [group, only, read.name].map((name) => slug(name ?? "")).find((id) => id !== "" && idProblem(id) === undefined) ?? "import";
}

/**
 * Items as the tickets of a plan: one ticket for each open item, under an id that is the same whenever the item is read, with
 * criteria and blockers from its text and type, priority and workflow from its labels. What is guessed, left out or cut off is a finding.
 * UserError for a group that the source does not have.
 */
export function mapItems(read: SourceRead, options: MapOptions): Mapped {
  const findings = [...read.findings];
  const items = wantedItems(read, options.group);
  const open = items.filter(({ state }) => state === "open");
  const closed = items.filter(({ state }) => state !== "open");
  if (open.length === 0) return { closed, findings };
  const ids = ticketIds(open, options.existing, findings);
  const find = finder(read.items, ids, options.existing);
  const tickets = open.map((item) => ticketOf(item, ids.get(keyOf(item.source)) ?? "", { options, find, findings }));
  const { planId: id, repo, workflow } = options;
  const draft: PlanDraft = {
    id,
    name: options.group ?? read.name ?? id,
    goal: `Imported from ${options.spelling}.`,
    ...(repo === undefined ? {} : { repo }),
    ...(workflow === undefined ? {} : { workflow }),
    tickets: withoutCycles(tickets, findings),
  };
  return { draft, closed, findings };
}

/** What tells a source from all others, whatever its case. */
export function keyOf({ kind, id }: Pick<Source, "kind" | "id">): string {
  return `${kind} ${id.toLowerCase()}`;
}

function placeOf(item: SourceItem): string {
  return item.source.url ?? item.source.id;
}

/** The items that were asked for, each once, in their order. UserError for a group that there is not. */
export function wantedItems({ items }: SourceRead, group: string | undefined): SourceItem[] {
  const unique = [...new Map(items.map((item) => [keyOf(item.source), item])).values()];
  const ordered = unique.toSorted((a, b) => (a.order ?? Number.MAX_SAFE_INTEGER) - (b.order ?? Number.MAX_SAFE_INTEGER));
  if (group === undefined) return ordered;
  const chosen = ordered.filter((item) => item.group?.toLowerCase() === group.toLowerCase());
  if (chosen.length > 0) return chosen;
  const groups = [...new Set(unique.flatMap((item) => item.group ?? []))];
  throw new UserError(`Nothing of the source is in a group "${group}"${suggestion(group, groups)}.`, {
    exit: "notFound",
    hint: groups.length === 0 ? "leave --group out" : `it has: ${groups.slice(0, 20).join(", ")}`,
  });
}

/** A ticket id for each open item, by its source. */
function ticketIds(open: readonly SourceItem[], existing: MapOptions["existing"], findings: Finding[]): Map<string, string> {
  const known = new Map(existing.flatMap(({ ticketId, source }) => (source ? [[keyOf(source), ticketId] as const] : [])));
  const taken = new Set(existing.map(({ ticketId }) => caseFold(ticketId)));
  const ids = new Map<string, string>();
  for (const item of open) {
    const key = keyOf(item.source);
    const there = known.get(key);
    if (there !== undefined) {
      ids.set(key, there);
      continue;
    }
    const plain = plainId(item.source);
    const id = taken.has(caseFold(plain)) ? `${plain.slice(0, 55)}-${hash(key)}` : plain;
    if (id !== plain) {
      const message = `another ticket of the plan is ${plain} already, so this one is ${id}`;
      findings.push({
        severity: "warning",
        rule: "duplicate-id",
        file: placeOf(item),
        message,
        fix: "give one of the two another id, or import it into a plan of its own",
      });
    }
    taken.add(caseFold(id));
    ids.set(key, id);
  }
  return ids;
}

const prefixes = new Map([
  ["github", "GH-"],
  ["features", "F-"],
]);

/** The id that a source's own name makes: `GH-12`, `ENG-12`, `F-3`, `add-a-login`. */
function plainId({ kind, id }: Source): string {
  const name = `${prefixes.get(kind) ?? ""}${anchorOf(id)}`
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .replace(/[^A-Za-z0-9._-]+/g, "-")
    .replace(/\.{2,}/g, ".")
    .replace(/^[^A-Za-z0-9]+/, "")
    .slice(0, 64)
    .replace(/[.-]+$/, "");
  return idProblem(name) === undefined ? name : `T-${hash(`${kind} ${id}`)}`;
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 8);
}

function anchorOf(id: string): string {
  return id.slice(id.lastIndexOf("#") + 1);
}

/** What stands before the last hash of a source's id: a repository, a file or a folder. */
export function originOf(id: string): string {
  return id.slice(0, Math.max(0, id.lastIndexOf("#")));
}

/** What a reference leads to. */
type Found = { ticket: string } | { item: SourceItem } | undefined;

interface Finder {
  /** By a source's id. */
  bySource(kind: string, id: string): Found;
  /** By what somebody wrote in the text of `item`. */
  byText(item: SourceItem, reference: string): Found;
}

function finder(items: readonly SourceItem[], ids: ReadonlyMap<string, string>, existing: MapOptions["existing"]): Finder {
  const read = new Map(items.map((item) => [keyOf(item.source), item]));
  const there = new Map(existing.flatMap(({ ticketId, source }) => (source ? [[keyOf(source), ticketId] as const] : [])));
  const tickets = new Map(existing.map(({ ticketId }) => [caseFold(ticketId), { ticket: ticketId }]));
  const byName = new Map<string, Source>();
  for (const { source, title } of items.toReversed()) {
    const names = [title.trim(), splitTitle(title).title, plainId(source), anchorOf(source.id), ids.get(keyOf(source)) ?? ""];
    for (const name of names) byName.set(caseFold(name), source);
  }
  const byWords = unambiguous(items.map(({ source, title }) => [wordsOf(splitTitle(title).title), source]));
  const numbered = unambiguous(items.map(({ source, number }) => [`${originOf(source.id)}#${number ?? ""}`, source]));
  const bySource = (kind: string, id: string): Found => {
    const key = keyOf({ kind, id });
    const ticket = ids.get(key);
    const item = read.get(key);
    if (ticket !== undefined) return { ticket };
    if (item !== undefined && item.state !== "open") return { item };
    const old = there.get(key);
    return old === undefined ? undefined : { ticket: old };
  };
  return {
    bySource,
    byText({ source: { kind, id } }, reference) {
      const here = `${originOf(id)}${reference.startsWith("#") ? "" : "#"}${reference}`;
      if (reference.startsWith("#")) return bySource(kind, numbered.get(here)?.id ?? here);
      if (reference.includes("#")) return bySource("github", reference);
      const named = byName.get(caseFold(reference)) ?? byWords.get(wordsOf(reference));
      return (
        bySource("linear", reference) ??
        bySource(kind, here) ??
        (named && bySource(named.kind, named.id)) ??
        tickets.get(caseFold(reference))
      );
    },
  };
}

/** A name without what people leave out when they name it once more; "" for one without letters and digits of ASCII. */
function wordsOf(name: string): string {
  return slug(name.trim().replace(/^(?:the|a|an)\s+/i, ""));
}

/** Those of the names that only one item has. */
function unambiguous(named: readonly (readonly [string, Source])[]): Map<string, Source> {
  const sources = new Map<string, Source>();
  const several = new Set([""]);
  for (const [name, source] of named) {
    if (sources.has(name)) several.add(name);
    sources.set(name, source);
  }
  for (const name of several) sources.delete(name);
  return sources;
}

interface Workshop {
  options: MapOptions;
  find: Finder;
  findings: Finding[];
}

function ticketOf(item: SourceItem, id: string, { options, find, findings }: Workshop): TicketDraft {
  const warn = (rule: string, message: string, fix: string) =>
    findings.push({ severity: "warning", rule, file: placeOf(item), message: `${id}: ${message}`, fix });
  const { type, priority, workflow } = meaningOf(item.labels, options.labels, item.priority);
  if (workflow !== undefined && !options.workflows.includes(workflow))
    warn("unknown-workflow", `there is no workflow "${workflow}", so it is not worked by that`, `one of ${options.workflows.join(", ")}`);
  const own = [workflow, type === undefined ? undefined : workflowOfType(type)].find(
    (name) => name !== undefined && options.workflows.includes(name),
  );
  const criteria = item.criteria !== undefined && item.criteria.length > 0 ? item.criteria : criteriaOf(item.body);
  return {
    id,
    title: cut(item.title.replace(/[\s\p{Cc}]+/gu, " ").trim() || id, longestTitle, () =>
      warn("too-long", "its title is cut off", "shorten it"),
    ),
    description: cut(item.body.trim(), longestDescription, () => warn("too-long", "its text is cut off", "split it")),
    acceptanceCriteria: [...new Set(criteria.map((one) => one.trim()).filter((one) => one !== ""))],
    blockedBy: blockersOf(item, id, find, warn),
    scope: [],
    ...(priority === undefined ? {} : { priority }),
    ...(type === undefined ? {} : { type }),
    ...(own === undefined || own === options.workflow ? {} : { workflow: own }),
    source: item.source,
  };
}

function cut(text: string, longest: number, tell: () => void): string {
  if (text.length <= longest) return text;
  tell();
  // Half a character is none.
  return `${text.slice(0, longest - 1).replace(/[\ud800-\udbff]$/, "")}…`;
}

type Warn = (rule: string, message: string, fix: string) => void;

function blockersOf(item: SourceItem, id: string, find: Finder, warn: Warn): string[] {
  const blockers = new Set<string>();
  const take = (name: string, found: Found) => {
    if (found === undefined) return false;
    if ("item" in found) {
      if (found.item.state === "dropped")
        warn("dropped-blocker", `${name} blocks it but was dropped, so it does not wait for it`, "see whether it can be done without");
    } else if (found.ticket === id) warn("own-blocker", "it names itself as its blocker, which is left out", "take it out of the text");
    else blockers.add(found.ticket);
    return true;
  };
  const unknown = (name: string) =>
    warn(
      "unknown-blocker",
      `${name} blocks it but is not among what is imported, so it does not wait for it`,
      "import that one, too, or block it with orchestrator ticket depend",
    );
  for (const source of item.blockedBy) {
    const name = item.source.kind === "github" || item.source.kind === "linear" ? source : anchorOf(source);
    if (!take(name, find.bySource(item.source.kind, source))) unknown(name);
  }
  for (const { references, words, sure } of [...blockersInTitle(item.title), ...blockerLines(item.body)]) {
    // GitHub was asked about what its texts name: what is not among the items is closed, or blocks them by its id already.
    const tell = sure && item.source.kind !== "github";
    for (const reference of references) if (!take(reference, find.byText(item, reference)) && tell) unknown(reference);
    if (words === undefined) continue;
    const unquoted = (name: string) => name.replace(/^["'`(]+|["'`).]+$/g, "").trim();
    const whole = find.byText(item, unquoted(words));
    const names = whole === undefined ? words.split(/\s*[,;&]\s*(?:and\s+)?|\s+and\s+/).map(unquoted) : [unquoted(words)];
    const found = names.map((name) => find.byText(item, name));
    if (found.every((one) => one !== undefined)) for (const [index, one] of found.entries()) take(names[index] ?? "", one);
    else
      warn(
        "unclear-blocker",
        `it says that it depends on "${words.slice(0, 80)}", which names none of what is imported`,
        "name it by its number or id",
      );
  }
  return [...blockers];
}

/** Tickets that wait for each other in a circle would never start: of each circle the blocker that closes it is left out. */
function withoutCycles(tickets: readonly TicketDraft[], findings: Finding[]): TicketDraft[] {
  const left = new Map<string, Set<string>>();
  const entries = tickets.map(({ id, blockedBy }) => ({ ticketId: id, blockedBy }));
  for (const cycle of blockerCycles(entries)) {
    const [last = "", first = ""] = cycle.slice(-2);
    left.set(last, (left.get(last) ?? new Set()).add(first));
    const ticket = tickets.find(({ id }) => id === last);
    findings.push({
      severity: "warning",
      rule: "cycle",
      file: ticket?.source?.url ?? ticket?.source?.id ?? last,
      message: `blockers form a circle: ${cycle.join(" → ")}; so ${last} does not wait for ${first}`,
      fix: "take one of them out at the source",
    });
  }
  return tickets.map((ticket) => ({ ...ticket, blockedBy: ticket.blockedBy.filter((blocker) => !left.get(ticket.id)?.has(blocker)) }));
}
