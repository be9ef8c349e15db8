import type { Cli, Failure } from "./script.ts";

/**
 * What the provider of a CLI says once the usage limit is reached. claude tells the time of the reset to subscribers only: give its
 * environment the subscription login.
 */
export function usageLimit(cli: Cli, resetsAt: Date): Failure {
  const seconds = Math.floor(resetsAt.getTime() / 1000);
  switch (cli) {
    case "claude":
      return {
        status: 429,
        headers: {
          "anthropic-ratelimit-unified-status": "rejected",
          "anthropic-ratelimit-unified-reset": String(seconds),
          "anthropic-ratelimit-unified-representative-claim": "five_hour",
          "anthropic-ratelimit-unified-fallback": "available",
          "anthropic-ratelimit-unified-overage-status": "rejected",
          "anthropic-ratelimit-unified-overage-disabled-reason": "org_level_disabled",
        },
      };
    case "codex":
      return {
        status: 429,
        body: { error: { type: "usage_limit_reached", message: "The usage limit has been reached", plan_type: "pro", resets_at: seconds } },
      };
    case "pi":
      return {
        status: 400,
        body: {
          type: "error",
          error: { type: "invalid_request_error", message: "You have reached your specified API usage limits." },
        },
      };
  }
}
