import type { Context } from "../app.ts";
import { type SessionRow, sessionRows } from "../views/sessions.ts";
import type { Ending } from "./command.ts";
import { columns, printJson, printLine } from "./print.ts";
import { readTicket, readWorld, takeTicket } from "./world.ts";

/** Lists a ticket's conversations with agents, oldest first. */
export async function run(context: Context, args: string[], options: { phase?: string; json?: boolean }): Promise<Ending> {
  const { world, index } = readWorld(await context.config());
  index.close();
  const target = takeTicket(world, args);
  const rows = sessionRows(readTicket(world, target).ticket, options.phase);
  if (options.json) {
    printJson(context, rows);
    return "ok";
  }
  if (rows.length === 0) {
    printLine(context, `No sessions found${options.phase === undefined ? "" : ` for phase ${options.phase}`}.`);
    return "ok";
  }
  const statusOf = ({ status, by }: SessionRow) => (by === undefined ? status : `${status} by ${by}`);
  const cells = rows.map((row, i) => [`${i + 1}.`, row.phase, statusOf(row), row.startedAt, `${row.session.provider}:${row.session.id}`]);
  for (const line of columns(cells)) printLine(context, line);
  return "ok";
}
