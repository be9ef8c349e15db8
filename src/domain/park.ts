import type { Instant } from "./time.ts";

/** Trouble between an agent and its provider: whichever ticket meets it, it is not that ticket's fault. */
export const providerTroubles = ["rate_limit", "usage_limit", "auth", "overloaded", "unavailable", "incompatible"] as const;
export type ProviderTrouble = (typeof providerTroubles)[number];

/** Whether a failure of this category is the provider's, not the work's. */
export function isProviderTrouble(category: string): category is ProviderTrouble {
  return providerTroubles.some((trouble) => trouble === category);
}

/** Why the agents of one account start nothing, or little, for the time being. */
export interface Park {
  category: ProviderTrouble;
  /** What the agent's program said, in one short line. */
  reason: string;
  /** The agent that met it last, and the ticket it worked on, as "plan/ticket". */
  agent: string;
  ticket: string;
  /** When it was first met, and when last. */
  since: Instant;
  at: Instant;
  /** When a run may try how things stand. */
  until: Instant;
  /** How often it was met in a row; 0 once a person has said that it is mended. */
  times: number;
  /** Runs at once that may try it out; 0 while it is parked. */
  limit: number;
  /** The runs that were served since, as "plan/ticket/run". */
  served?: string[];
  /** The agent's program is missing or incompatible; looking at it again tells when that is over. */
  program?: true;
}

/** Parks by account: the `account` of an agent, else the agent's own name. */
export type Parks = ReadonlyMap<string, Park>;
