import type { Fault } from "./server.ts";

/** The hourly limit is used up; `inSeconds` from now it begins anew. */
export function rateLimited(inSeconds: number): Fault {
  return { status: 403, headers: spent(inSeconds), body: JSON.stringify({ message: "API rate limit exceeded for user ID 583231." }) };
}

/** The same as GraphQL tells it: with HTTP 200. */
export function rateLimitedQuery(inSeconds: number): Fault {
  const errors = [{ type: "RATE_LIMITED", message: "API rate limit exceeded for user ID 583231." }];
  return { status: 200, headers: spent(inSeconds), body: JSON.stringify({ errors }) };
}

function spent(inSeconds: number): Record<string, string> {
  return { "x-ratelimit-remaining": "0", "x-ratelimit-reset": String(Math.floor(Date.now() / 1000) + inSeconds) };
}

/** Too much at once. GitHub does not always say for how long to pause. */
export function secondaryLimit(retryAfterSeconds?: number): Fault {
  const headers: Record<string, string> = retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) };
  return { status: 403, headers, body: JSON.stringify({ message: "You have exceeded a secondary rate limit. Please wait." }) };
}

/** What the token may not do. */
export const notPermitted: Fault = { status: 403, body: JSON.stringify({ message: "Resource not accessible by personal access token" }) };

/** A query that took too long. */
export const badGateway: Fault = { status: 502, body: JSON.stringify({ message: "Something went wrong while executing your query." }) };

/** A page for people where an answer should be. */
export const signInPage: Fault = { status: 200, body: "<!doctype html><title>Sign in to the network</title>" };

/** The request is done, and its answer lost. */
export const lostAnswer: Fault = { status: 502, body: "<html><body>502 Bad Gateway</body></html>", late: true };
