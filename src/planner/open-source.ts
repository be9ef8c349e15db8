import { createHash } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { Source } from "../domain/draft.ts";
import { suggestion, UserError } from "../domain/errors.ts";
import { parseYamlText } from "../inputs/yaml-text.ts";
import { lockDir } from "../state/layout.ts";
import { backlog } from "../trackers/backlog.ts";
import { featuresJson } from "../trackers/features-json.ts";
import { githubIssues } from "../trackers/github-issues.ts";
import { issueFiles } from "../trackers/issue-files.ts";
import { linear } from "../trackers/linear.ts";
import { plainTextFile } from "../trackers/text.ts";
import type { Tracker } from "../trackers/tracker.ts";
import { originOf } from "./map-items.ts";
import type { Bench } from "./tool.ts";

/** A source that somebody named. */
export interface OpenedSource {
  /** What it was taken for, spelt in full, with whole paths. */
  spelling: string;
  tracker: Tracker;
  /** The folder that it lies in, where it is files. */
  dir?: string;
}

type Where = Pick<Bench, "env" | "cwd"> & { config: Pick<Bench["config"], "home"> };

const kinds = ["github", "linear", "features", "issues", "backlog", "text"] as const;
type Kind = (typeof kinds)[number];

const ways = "write github:owner/repo, linear:TEAM, features:<file>, issues:<folder>, backlog:<file>#<heading> or text:<file>";

/**
 * The source that a spelling means: `github:owner/repo?label=x&milestone=y`, `linear:TEAM?project=x`, `features:path`, `issues:folder`,
 * `backlog:file#Heading`, `text:file`; an address of GitHub or Linear, or a path that shows what it is. UserError for anything else.
 */
export function openSource(spelling: string, where: Where): OpenedSource {
  const [, kind = "", rest = ""] = /^([a-z]+):(?!\/\/)(.*)$/s.exec(spelling) ?? [];
  if (isKind(kind)) return openers[kind](rest, where);
  if (/^https?:\/\//i.test(spelling)) return fromAddress(spelling, where);
  if (kind !== "" && !existsSync(pathOf(spelling, where))) {
    throw new UserError(`"${kind}" is no kind of source${suggestion(kind, kinds)}.`, { exit: "usage", hint: ways });
  }
  return fromPath(spelling, where);
}

function isKind(text: string): text is Kind {
  return (kinds as readonly string[]).includes(text);
}

const openers: Record<Kind, (rest: string, where: Where) => OpenedSource> = {
  github: (rest, where) => {
    const { name, values } = query(rest, "github", ["label", "milestone", "state", "search"]);
    const [milestone, state, search] = [values.get("milestone"), stateOf(values.get("state")), values.get("search")];
    const labels = values.getAll("label");
    const options = {
      ...(labels.length === 0 ? {} : { labels }),
      ...(milestone === null ? {} : { milestone }),
      ...(search === null ? {} : { search }),
    };
    return { spelling: `github:${rest}`, tracker: githubIssues({ repo: name, env: { ...where.env }, ...options, ...state }) };
  },
  linear: (rest, where) => {
    const { name, values } = query(rest, "linear", ["project", "cycle", "label", "state"]);
    const [project, cycle] = [values.get("project"), values.get("cycle")];
    const labels = values.getAll("label");
    const options = {
      ...(name === "" ? {} : { team: name }),
      ...(project === null ? {} : { project }),
      ...(cycle === null ? {} : { cycle }),
      ...(labels.length === 0 ? {} : { labels }),
    };
    return { spelling: `linear:${rest}`, tracker: linear({ env: { ...where.env }, ...options, ...stateOf(values.get("state")) }) };
  },
  features: (rest, where) => {
    const file = pathOf(named(rest, "features:<file>"), where);
    return { spelling: `features:${file}`, tracker: featuresJson({ file, lockFile: lockFor(file, where) }), dir: dirname(file) };
  },
  issues: (rest, where) => {
    const dir = pathOf(named(rest, "issues:<folder>"), where);
    return { spelling: `issues:${dir}`, tracker: issueFiles({ dir, readYaml: parseYamlText }), dir };
  },
  backlog: (rest, where) => {
    const { path, heading } = split(named(rest, "backlog:<file>#<heading>"), where);
    const file = pathOf(path, where);
    const tracker = backlog({ file, ...(heading === undefined ? {} : { heading }) });
    return { spelling: `backlog:${file}${heading === undefined ? "" : `#${heading}`}`, tracker, dir: dirname(file) };
  },
  text: (rest, where) => {
    const file = pathOf(named(rest, "text:<file>"), where);
    return { spelling: `text:${file}`, tracker: plainTextFile({ file }), dir: dirname(file) };
  },
};

function named(rest: string, way: string): string {
  if (rest !== "") return rest;
  throw new UserError("Nothing says where the source is.", { exit: "usage", hint: `write ${way}` });
}

/** What stands before and behind a question mark. UserError for a name behind it that nobody reads. */
function query(rest: string, kind: Kind, known: readonly string[]): { name: string; values: URLSearchParams } {
  const at = rest.indexOf("?");
  const values = new URLSearchParams(at < 0 ? "" : rest.slice(at + 1));
  for (const key of values.keys()) {
    if (known.includes(key)) continue;
    throw new UserError(`${kind} knows no "${key}"${suggestion(key, known)}.`, { exit: "usage", hint: `it knows ${known.join(", ")}` });
  }
  return { name: at < 0 ? rest : rest.slice(0, at), values };
}

const states = ["open", "closed", "all"] as const;

function stateOf(text: string | null): { state?: (typeof states)[number] } {
  if (text === null) return {};
  const state = states.find((one) => one === text);
  if (state !== undefined) return { state };
  throw new UserError(`"${text}" is no state${suggestion(text, states)}.`, { exit: "usage", hint: `write ${states.join(", ")}` });
}

function pathOf(path: string, { cwd, env }: Where): string {
  return path === "~" || path.startsWith("~/") ? join(env.HOME || homedir(), path.slice(1)) : resolve(cwd, path);
}

/** A path and the heading behind it; the name of a file may hold a hash as well. */
function split(text: string, where: Where): { path: string; heading?: string } {
  for (let at = text.length; at >= 0; at = text.lastIndexOf("#", at - 1)) {
    const path = text.slice(0, at);
    if (path !== "" && existsSync(pathOf(path, where))) return at === text.length ? { path } : { path, heading: text.slice(at + 1) };
    if (at === 0) break;
  }
  const first = text.indexOf("#");
  return first < 0 ? { path: text } : { path: text.slice(0, first), heading: text.slice(first + 1) };
}

/** Writers of one file wait for each other, by whatever path they know it. */
function lockFor(file: string, { config }: Where): string {
  return join(lockDir(config.home), `source-${createHash("sha256").update(file).digest("hex").slice(0, 32)}.lock`);
}

function fromAddress(address: string, where: Where): OpenedSource {
  const { host = "", parts = [], filters = new URLSearchParams() } = partsOf(address);
  const [owner, repo, what, more] = parts;
  const isLinear = host === "linear.app";
  if (isLinear && parts[1] === "team" && parts[2] !== undefined) return openers.linear(parts[2], where);
  // What a browser shows is narrowed down by q alone, which says the state as well.
  const onlyQ = [...filters.keys()].every((name) => name === "q");
  if (!isLinear && repo !== undefined && more === undefined && (what === undefined || what === "issues") && onlyQ) {
    const search = filters.get("q");
    const query = search === null ? "" : `?${new URLSearchParams({ state: "all", search })}`;
    return openers.github(`${host}/${owner}/${repo.replace(/\.git$/, "")}${query}`, where);
  }
  throw new UserError(`${address} is no address whose issues can be read.`, {
    exit: "usage",
    hint: "name a repository (https://github.com/owner/repo) or a team (https://linear.app/workspace/team/KEY), or github:owner/repo?milestone=…",
  });
}

function partsOf(address: string): { host?: string; parts?: string[]; filters?: URLSearchParams } {
  if (!URL.canParse(address)) return {};
  const { host, pathname, searchParams } = new URL(address);
  return { host, parts: pathname.split("/").filter((part) => part !== ""), filters: searchParams };
}

function fromPath(spelling: string, where: Where): OpenedSource {
  const { path, heading } = split(spelling, where);
  const whole = pathOf(path, where);
  const stat = statSync(whole, { throwIfNoEntry: false });
  if (stat === undefined) {
    const repo = /^[\w.-]+\/[\w.-]+$/.test(spelling) ? `did you mean github:${spelling}? ` : "";
    throw new UserError(`There is no file or folder ${whole}.`, { exit: "notFound", hint: `${repo}${ways}` });
  }
  if (heading !== undefined) return openers.backlog(`${whole}#${heading}`, where);
  if (stat.isDirectory()) return openers.issues(whole, where);
  if (/\.json$/i.test(whole)) return openers.features(whole, where);
  if (/\.(?:md|markdown)$/i.test(whole)) return openers.backlog(whole, where);
  return openers.text(whole, where);
}

/** A place that items came from. */
export interface Listener {
  /** For people. */
  name: string;
  sources: Source[];
  /** Undefined where nothing can be told. UserError where it cannot be used as it is. */
  open(): Tracker | undefined;
}

/** The places that items came from, each with the items that are from there. With `closeDone`, GitHub's issues are closed once they are done. */
export function listeners(sources: readonly Source[], where: Where, options: { closeDone: boolean }): Listener[] {
  const found = new Map<string, Listener>();
  for (const source of sources) {
    const { name, open } = listener(source, where, options);
    const known = found.get(name);
    if (known) known.sources.push(source);
    else found.set(name, { name, open, sources: [source] });
  }
  return [...found.values()];
}

function listener(source: Source, where: Where, { closeDone }: { closeDone: boolean }): Omit<Listener, "sources"> {
  const origin = originOf(source.id);
  switch (source.kind) {
    case "github": {
      const host = hostOf(source.url);
      const repo = host === undefined ? origin : `${host}/${origin}`;
      return { name: host ?? "GitHub", open: () => githubIssues({ repo, env: { ...where.env }, closeDone }) };
    }
    case "linear":
      return { name: "Linear", open: () => linear({ env: { ...where.env }, team: source.id.replace(/-\d+$/, "") }) };
    case "features":
      return { name: origin, open: () => featuresJson({ file: origin, lockFile: lockFor(origin, where) }) };
    default:
      return { name: origin || source.kind, open: () => undefined };
  }
}

/** Where an item is. Without an address, it is where gh is signed in. */
function hostOf(address: string | undefined): string | undefined {
  return address !== undefined && URL.canParse(address) ? new URL(address).host : undefined;
}
