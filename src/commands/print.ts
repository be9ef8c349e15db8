import { stripVTControlCharacters } from "node:util";
import type { Context, Style } from "../app.ts";
import type { TicketStatus } from "../domain/ticket.ts";
import { printable } from "../lib/printable.ts";

/** Prints what a command found, as the JSON that scripts read. */
export function printJson(context: Context, value: unknown): void {
  context.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** Prints it in the envelope of the commands that the first seed did not have. */
export function printData(context: Context, data: unknown): void {
  printJson(context, { apiVersion: "1", data });
}

/** Prints one line. */
export function printLine(context: Context, line = ""): void {
  context.stdout.write(`${line}\n`);
}

/** One line that is safe on a terminal, of text that a repository, a ticket or an agent wrote. */
export function oneLine(text: string, longest = 500): string {
  const line = printable(text).replace(/\s+/g, " ").trim();
  return line.length > longest ? `${line.slice(0, longest - 1)}…` : line;
}

const statusStyles: Partial<Record<TicketStatus | "unreadable" | "active" | "blocked" | "draft", Style>> = {
  running: "cyan",
  waiting: "cyan",
  complete: "green",
  active: "green",
  failed: "red",
  unreadable: "red",
  needs_attention: "yellow",
  awaiting_approval: "yellow",
  blocked: "yellow",
  paused: "magenta",
  queued: "dim",
  skipped: "dim",
  cancelled: "dim",
  draft: "dim",
};

/** A status of a plan or ticket, padded and in its colour. */
export function statusText(context: Context, status: keyof typeof statusStyles | "ready", width = 0): string {
  const style = (statusStyles as Record<string, Style | undefined>)[status];
  const text = status.padEnd(width);
  return style ? context.style(style, text) : text;
}

/** Seconds as people say them: "12s", "5m", "3h 20m", "2d 4h". */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s}s`;
  const m = Math.floor(s / 60);
  if (m < 60) return `${m}m`;
  const h = Math.floor(m / 60);
  if (h < 24) return m % 60 === 0 ? `${h}h` : `${h}h ${m % 60}m`;
  const d = Math.floor(h / 24);
  return h % 24 === 0 ? `${d}d` : `${d}d ${h % 24}h`;
}

/** Rows with their columns aligned; the last column is left as it is. Widths are those of plain text. */
export function columns(rows: readonly (readonly string[])[], indent = ""): string[] {
  const widths: number[] = [];
  const width = (cell: string) => stripVTControlCharacters(cell).length;
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, width(cell));
  }
  return rows.map((row) => {
    const cells = row.map((cell, i) => (i === row.length - 1 ? cell : cell + " ".repeat((widths[i] ?? 0) - width(cell))));
    return `${indent}${cells.join("  ")}`.trimEnd();
  });
}

/** `1 plan`, `2 plans`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
