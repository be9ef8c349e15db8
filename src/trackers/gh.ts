import { execa } from "execa";
import * as z from "zod";
import { UserError } from "../domain/errors.ts";
import { findProgram } from "../lib/find-program.ts";
import type { Outcome, Patience } from "./patience.ts";

/** Where gh works, and for whom. */
export interface Gh {
  env: NodeJS.ProcessEnv;
  /** GitHub as a person names it, e.g. "github.example.com". Absent: where gh is signed in. */
  host?: string;
  patience: Patience;
}

/** An answer of GitHub's GraphQL. With errors, `data` may hold what did not fail. */
export interface GraphqlAnswer {
  data: unknown;
  errors: readonly GraphqlError[];
}

interface GraphqlError {
  type?: string;
  message: string;
  path?: readonly (string | number)[];
}

/**
 * Asks GitHub's GraphQL through gh, which brings the user's sign-in, host and proxy. One process, one request. An answer with errors
 * is a value unless all of it failed for a reason that may pass or that no query can help, such as limits and credentials.
 * Throws UserError for what will not pass.
 */
export async function ghGraphql(
  gh: Gh,
  query: string,
  variables: Record<string, unknown>,
  signal?: AbortSignal,
): Promise<Outcome<GraphqlAnswer>> {
  const program = findProgram("gh", gh.env);
  if (program === undefined) throw new UserError("gh, the program that talks to GitHub, was not found on PATH.", { hint: install });
  const host = gh.host === undefined ? [] : ["--hostname", gh.host];
  const result = await execa(program, ["api", "graphql", "--include", "--input", "-", ...host], {
    input: JSON.stringify({ query, variables }),
    env: environment(gh.env),
    extendEnv: false,
    cwd: "/",
    reject: false,
    stripFinalNewline: false,
    // gh itself waits for ever.
    timeout: gh.patience.requestMs,
    maxBuffer: 64 * 1024 * 1024,
    ...(signal === undefined ? {} : { cancelSignal: signal }),
  });
  signal?.throwIfAborted();
  if (result.timedOut) {
    const seconds = gh.patience.requestMs / 1000;
    return { again: unreachable(`it did not answer within ${seconds} s`), tooMuch: true };
  }
  const reply = parseReply(result.stdout);
  if (reply === undefined) return withoutReply(result.stderr, result.exitCode);
  return judge(reply, gh.env);
}

const install = "install it from https://cli.github.com (2.23 or newer), then: gh auth login";

/** The data of an answer that has to be whole. Throws UserError when the repository is not there, and for every other error in it. */
export function dataOf<T>(schema: z.ZodType<T>, { data, errors }: GraphqlAnswer, place: string): T {
  const error = errors.find(isForbidden) ?? errors[0];
  if (error?.type === "NOT_FOUND") {
    throw new UserError(`GitHub does not show ${place}: ${error.message}`, {
      hint: "correct the name, or give the account of gh access to it (gh auth status says which account that is)",
      exit: "notFound",
    });
  }
  if (error && isForbidden(error)) throw forbidden(error.message);
  if (error) throw new UserError(`GitHub refused a question about ${place}: ${error.message}`);
  const parsed = schema.safeParse(data);
  if (parsed.success) return parsed.data;
  throw new UserError(`GitHub's answer about ${place} is not as expected: ${z.prettifyError(parsed.error)}`);
}

/** As `dataOf`, for an answer about several things: null stands in it for those that are not there or that the account may not see. */
export function dataOfSome<T>(schema: z.ZodType<T>, { data, errors }: GraphqlAnswer, place: string): T {
  return dataOf(schema, { data, errors: errors.filter((error) => error.type !== "NOT_FOUND" && !isForbidden(error)) }, place);
}

/** How an issue is called in every repository: `owner/name#12`. */
export function idOf(issue: { number: number; repository: { nameWithOwner: string } }): string {
  return `${issue.repository.nameWithOwner}#${issue.number}`;
}

/** A query for fields of several issues, named by their ids; `fields` gives those of the i-th. The answer has them as `r0.issue`, `r1.issue`… in their order. */
export function issuesQuery(ids: readonly string[], fields: (i: number) => string): [query: string, variables: Record<string, string>] {
  const parts = ids.map((id) => /^([^/]+)\/([^#]+)#(\d+)$/.exec(id) ?? []);
  const declared = parts.map((_, i) => `$o${i}: String!, $n${i}: String!`).join(", ");
  const asked = parts.map(
    ([, , , number], i) => `r${i}: repository(owner: $o${i}, name: $n${i}) { issue(number: ${number}) { ${fields(i)} } }`,
  );
  const variables = parts.flatMap(([, owner = "", name = ""], i) => [[`o${i}`, owner] as const, [`n${i}`, name] as const]);
  return [`query Named(${declared}) { ${asked.join("\n")} }`, Object.fromEntries(variables)];
}

/** Variables that make gh print, ask or choose otherwise than a program needs. */
const unwanted = /^(?:GH_(?:DEBUG|REPO|FORCE_TTY|PAGER|PROMPT_DISABLED|NO_UPDATE_NOTIFIER)|DEBUG|PAGER|CLICOLOR(?:_FORCE)?|FORCE_COLOR)$/;

function environment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = Object.entries(env).filter(([name]) => !unwanted.test(name));
  return { ...Object.fromEntries(kept), GH_PROMPT_DISABLED: "1", GH_NO_UPDATE_NOTIFIER: "1", GH_PAGER: "cat", NO_COLOR: "1" };
}

interface Reply {
  status: number;
  /** Names in lower case. */
  headers: Map<string, string>;
  body: string;
}

/** What `gh api --include` printed. undefined: GitHub did not answer. */
function parseReply(stdout: string): Reply | undefined {
  const match = /^HTTP\/[\d.]+ (\d{3})[^\n]*\n((?:[^\r\n]+\r?\n)*)\r?\n/.exec(stdout);
  if (!match) return undefined;
  const headers = (match[2] ?? "").split(/\r?\n/).flatMap((line): [string, string][] => {
    const colon = line.indexOf(":");
    return colon < 0 ? [] : [[line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()]];
  });
  return { status: Number(match[1]), headers: new Map(headers), body: stdout.slice(match[0].length) };
}

/** gh ends with 1 for nearly everything; what it was, only its words tell. */
function withoutReply(stderr: string, exitCode: number | undefined): Outcome<GraphqlAnswer> {
  const said = stderr.trim().split("\n")[0] ?? "";
  if (exitCode === 4 || /gh auth login/.test(stderr)) {
    throw new UserError("gh is not signed in to GitHub.", { hint: "run: gh auth login (or set GH_TOKEN)" });
  }
  if (/unknown (?:shorthand )?flag|unknown command/i.test(stderr)) {
    throw new UserError(`This gh is too old: ${said}`, { hint: install });
  }
  if (
    /error connecting to|dial tcp|proxyconnect|\bEOF\b|connection re(?:set|fused)|no such host|i\/o timeout|TLS|x509|lookup /i.test(stderr)
  ) {
    return { again: unreachable(said) };
  }
  throw new UserError(`gh failed${exitCode === undefined ? "" : ` with exit code ${exitCode}`}: ${said || "it said nothing"}`, {
    hint: "try it by hand: gh api user",
  });
}

function unreachable(why: string): UserError {
  return new UserError(`GitHub cannot be reached: ${why}`, {
    hint: "check the network and the proxy (gh api user shows the same), then try again",
    exit: "tryLater",
  });
}

function judge(reply: Reply, env: NodeJS.ProcessEnv): Outcome<GraphqlAnswer> {
  const parsed = parseJson(reply.body);
  const message = messageOf(parsed);
  const limit = limitOf(reply, message, parsed);
  if (limit) return limit;
  if (reply.status === 401) {
    const variable = ["GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN"].find((name) => env[name]);
    throw new UserError(`GitHub refused the credentials of gh (HTTP 401: ${message ?? "no reason given"}).`, {
      hint: variable ? `renew the token in ${variable}` : "run: gh auth login",
    });
  }
  if (reply.status === 403) throw forbidden(message ?? "HTTP 403");
  if (reply.status >= 500) {
    return { again: unreachable(`it answered with HTTP ${reply.status}${message ? `: ${message}` : ""}`), tooMuch: true };
  }
  if (!isAnswer(parsed)) {
    const what = parsed === undefined ? "something that is not JSON, as a proxy or a sign-in page does" : (message ?? "no data");
    if (reply.status >= 400) throw new UserError(`GitHub refused the request (HTTP ${reply.status}): ${what}`);
    return { again: unreachable(`it answered with ${what}`) };
  }
  const errors = parsed.errors ?? [];
  const passing = errors.find(({ message }) => /something went wrong while executing|timed?[ -]?out|timeout/i.test(message));
  if (passing) return { again: unreachable(passing.message), tooMuch: true };
  return { value: { data: parsed.data ?? null, errors } };
}

function isForbidden({ type, message }: GraphqlError): boolean {
  return type === "FORBIDDEN" || type === "INSUFFICIENT_SCOPES" || /Resource not accessible/i.test(message);
}

function forbidden(message: string): UserError {
  return new UserError(`GitHub does not allow that: ${message}`, {
    hint: "the token of gh needs to read and write issues of the repository (gh auth refresh --scopes repo), and single sign-on where an organisation demands it",
  });
}

/** A limit on requests, told as 403, 429 or, in GraphQL, with HTTP 200. */
function limitOf({ status, headers }: Reply, message: string | undefined, parsed: unknown): Outcome<never> | undefined {
  const limited = isAnswer(parsed) && parsed.errors?.some(({ type }) => type === "RATE_LIMITED");
  if (status !== 403 && status !== 429 && !limited) return undefined;
  const retryAfter = Number(headers.get("retry-after") ?? Number.NaN);
  const secondary = /secondary rate limit|abuse detection/i.test(message ?? "");
  if (secondary || Number.isFinite(retryAfter)) {
    const seconds = Number.isFinite(retryAfter) ? retryAfter : 60;
    return limitedUntil(Date.now() + seconds * 1000, "GitHub asks for a pause (secondary rate limit)");
  }
  if (!limited && headers.get("x-ratelimit-remaining") !== "0" && !/rate limit exceeded/i.test(message ?? "")) return undefined;
  const reset = Number(headers.get("x-ratelimit-reset") ?? Number.NaN);
  // The reset is told in whole seconds; just before the next one begins, it is still closed.
  const until = Number.isFinite(reset) ? (reset + 1) * 1000 : Date.now() + 60_000;
  return limitedUntil(until, "GitHub's rate limit of this account is used up");
}

function limitedUntil(until: number, what: string): Outcome<never> {
  const time = new Date(until).toISOString().replace(/\.\d+Z$/, "Z");
  return {
    again: new UserError(`${what} until ${time}.`, { hint: "try again then; gh api rate_limit shows what is left", exit: "tryLater" }),
    afterMs: Math.max(0, until - Date.now()),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isAnswer(parsed: unknown): parsed is { data?: unknown; errors?: GraphqlError[] } {
  return typeof parsed === "object" && parsed !== null && ("data" in parsed || ("errors" in parsed && Array.isArray(parsed.errors)));
}

function messageOf(parsed: unknown): string | undefined {
  if (typeof parsed !== "object" || parsed === null) return undefined;
  if ("message" in parsed && typeof parsed.message === "string") return parsed.message;
  return isAnswer(parsed) ? parsed.errors?.[0]?.message : undefined;
}
