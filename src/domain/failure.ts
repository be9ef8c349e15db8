import * as z from "zod";

/** What kind of thing went wrong. Decides where `on:` leads, and later how providers are treated. */
export const failureCategories = [
  "rate_limit",
  "usage_limit",
  "auth",
  "overloaded",
  "unavailable",
  "incompatible",
  "environment",
  "test",
  "implementation",
  "verification",
  "conflict",
  "scope",
  "isolation",
  "timeout",
  "stalled",
  "stuck",
  "budget",
  "blocker",
  "infrastructure",
  "aborted",
  "unknown",
] as const;
export const FailureCategory = z.enum(failureCategories);
export type FailureCategory = z.infer<typeof FailureCategory>;
