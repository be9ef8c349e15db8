import * as z from "zod";
import { UserError } from "../domain/errors.ts";
import type { Outcome, Patience } from "./patience.ts";

/** Where Linear is, and with which key. */
export interface LinearAccess {
  url: string;
  /** A personal API key or an OAuth token. */
  key: string;
  patience: Patience;
}

const Errors = z.array(
  z.object({
    message: z.string(),
    extensions: z
      .object({ code: z.string().optional(), type: z.string().optional(), userPresentableMessage: z.string().optional() })
      .optional(),
  }),
);

/**
 * Asks Linear's GraphQL. Throws UserError for what will not pass: a key that is refused, something that is not there, a refused request.
 */
export async function askLinear<T>(
  access: LinearAccess,
  schema: z.ZodType<T>,
  query: string,
  variables: Record<string, unknown>,
  signal?: AbortSignal,
): Promise<Outcome<T>> {
  const reply = await post(access, JSON.stringify({ query, variables }), signal);
  if ("again" in reply) return reply;
  const { status, headers, text } = reply.value;
  const { data, errors } = parse(text);
  const [error] = errors;
  const said = error?.extensions?.userPresentableMessage ?? error?.message;
  const code = error?.extensions?.code ?? error?.extensions?.type ?? "";
  if (status === 429 || /RATE_?LIMITED/i.test(code)) return limited(headers);
  if (status === 401 || /AUTHENTICATION/i.test(code)) {
    throw new UserError(`Linear refused the key: ${said ?? `HTTP ${status}`}`, {
      hint: "renew LINEAR_API_KEY; a personal key begins with lin_api_, everything else is sent as an OAuth token",
    });
  }
  if (status === 403 || /FORBIDDEN/i.test(code)) {
    throw new UserError(`Linear does not allow that: ${said ?? `HTTP ${status}`}`, { hint: "use a key of somebody who may" });
  }
  if (status >= 500) return { again: unreachable(`it answered with HTTP ${status}`), tooMuch: true };
  if (said && /complex/i.test(said)) return { again: new UserError(`Linear finds the question too large: ${said}`), tooMuch: true };
  if (error) {
    const missing = /not found/i.test(error.message);
    throw new UserError(`Linear refused the request: ${said}`, { exit: missing ? "notFound" : "failed" });
  }
  if (status >= 400) throw new UserError(`Linear refused the request with HTTP ${status}.`);
  if (data === undefined) return { again: unreachable("it answered with something that is not JSON, as a proxy or a sign-in page does") };
  const parsed = schema.safeParse(data);
  if (parsed.success) return { value: parsed.data };
  throw new UserError(`Linear's answer is not as expected: ${z.prettifyError(parsed.error)}`);
}

interface Reply {
  status: number;
  headers: Headers;
  text: string;
}

async function post({ url, key, patience }: LinearAccess, body: string, signal: AbortSignal | undefined): Promise<Outcome<Reply>> {
  const timeout = AbortSignal.timeout(patience.requestMs);
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: authorization(key) },
      body,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    return { value: { status: response.status, headers: response.headers, text: await response.text() } };
  } catch (error) {
    signal?.throwIfAborted();
    if (timeout.aborted) return { again: unreachable(`it did not answer within ${patience.requestMs / 1000} s`), tooMuch: true };
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    return { again: unreachable(cause instanceof Error ? cause.message || cause.name : String(cause)) };
  }
}

/** Personal keys are sent as they are; with "Bearer" Linear refuses them, and OAuth tokens without. */
function authorization(key: string): string {
  return key.startsWith("lin_api_") || key.startsWith("Bearer ") ? key : `Bearer ${key}`;
}

function parse(text: string): { data: unknown; errors: z.infer<typeof Errors> } {
  try {
    const { data, errors } = JSON.parse(text);
    return { data: data ?? undefined, errors: Errors.safeParse(errors ?? []).data ?? [] };
  } catch {
    return { data: undefined, errors: [] };
  }
}

function unreachable(why: string): UserError {
  return new UserError(`Linear cannot be reached: ${why}`, { hint: "check the network, then try again", exit: "tryLater" });
}

/** Linear tells in milliseconds when each limit is lifted; a limit of which nothing is left is the one that refused us. */
function limited(headers: Headers): Outcome<never> {
  const used = ["requests", "complexity"].filter((kind) => headers.get(`x-ratelimit-${kind}-remaining`) === "0");
  const resets = used.map((kind) => Number(headers.get(`x-ratelimit-${kind}-reset`))).filter((reset) => reset > 0);
  const retryAfter = Number(headers.get("retry-after") ?? Number.NaN);
  const until = Number.isFinite(retryAfter)
    ? Date.now() + retryAfter * 1000
    : Math.max(...resets, resets.length > 0 ? 0 : Date.now() + 60_000);
  const time = new Date(until).toISOString().replace(/\.\d+Z$/, "Z");
  return {
    again: new UserError(`Linear's rate limit of this key is used up until ${time}.`, { hint: "try again then", exit: "tryLater" }),
    afterMs: Math.max(0, until - Date.now()),
  };
}
