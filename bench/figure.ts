/** One measured number, as it is printed and written down. */
export interface Figure {
  what: string;
  measured: string;
  /** What it must not exceed; absent for numbers that only inform. */
  limit?: string;
  ok?: boolean;
}

/** A figure that has a limit, both as numbers of `unit`. */
export function limited(what: string, value: number, limit: number, unit: string, note = ""): Figure {
  return { what, measured: `${format(value, unit)}${note}`, limit: `≤ ${format(limit, unit)}`, ok: value <= limit };
}

/** A figure for information. */
export function informing(what: string, value: number, unit: string, note = ""): Figure {
  return { what, measured: `${format(value, unit)}${note}` };
}

/** The value below which `share` (0 to 1) of all values lie. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** The middle one of the values. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** A number with the digits that matter. */
export function format(value: number, unit: string): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${unit}`;
}
