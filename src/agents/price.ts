import type { Price, Spent, Usage } from "../domain/session.ts";
import prices from "./prices.json" with { type: "json" };

const known: Readonly<Record<string, Price>> = prices;
/** A snapshot costs what its model costs, and so does a larger context where nothing else is said. */
const variant = /(-\d{8}|-\d{4}-\d{2}-\d{2})?(\[1m\])?$/;

/** The price of a model: the configuration's own, else the program's; undefined when neither knows the model. */
export function priceOf(model: string, own: Readonly<Record<string, Price>> = {}): Price | undefined {
  for (const name of [model, model.replace(variant, "")]) {
    if (Object.hasOwn(own, name)) return own[name];
    if (Object.hasOwn(known, name)) return known[name];
  }
  return undefined;
}

/** All tokens together: input, output, cache reads and cache writes. */
export function tokensOf({ inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens }: Usage): number {
  return inputTokens + outputTokens + cacheReadTokens + cacheWriteTokens;
}

/** The sum of what was used, whatever the model. */
export function totalUsage({ byModel }: Spent): Usage {
  const total = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };
  for (const { usage } of byModel) for (const key of Object.keys(total) as (keyof Usage)[]) total[key] += usage[key];
  return total;
}

/** Where a sum of money comes from; `unknown`: there is none, because a model has no known price. */
export type PricedBy = "cli" | "table" | "unknown";

/**
 * What was spent in USD: what the CLI says, else tokens at their price. Null when a model that used tokens has no known price.
 * `asked` is the model of a stream that names none; `own` are prices of the configuration.
 */
export function costOf(
  spent: Spent,
  asked: string | undefined,
  own: Readonly<Record<string, Price>> = {},
): { usd: number | null; by: PricedBy } {
  if (spent.costUsd !== null) return { usd: spent.costUsd, by: "cli" };
  let usd = 0;
  for (const { model, usage } of spent.byModel) {
    if (tokensOf(usage) === 0) continue;
    const name = model ?? asked;
    const price = name === undefined ? undefined : priceOf(name, own);
    if (!price) return { usd: null, by: "unknown" };
    usd += usage.inputTokens * price.input + usage.outputTokens * price.output;
    usd += usage.cacheReadTokens * price.cacheRead + usage.cacheWriteTokens * price.cacheWrite;
  }
  return { usd: usd / 1_000_000, by: "table" };
}
