/** Milliseconds of a clock that only goes forward. `performance.now()` is the same, but loading it takes a fresh process a millisecond. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
