/**
 * The scripted agent of `orchestrator demo`: a program that reads a prompt on stdin and works in the current folder like
 * a coding agent would, without an account, a network or a model.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { demoTickets } from "./demo-project.ts";

const ticket = demoTickets.find(({ ticketId }) => ticketId === process.env.ORCH_TICKET);

async function main(): Promise<string> {
  let prompt = "";
  for await (const chunk of process.stdin) prompt += String(chunk);
  if (!ticket) throw new Error(`the demo knows no ticket ${process.env.ORCH_TICKET}`);
  switch (process.env.ORCH_PHASE) {
    case "implement": {
      const isRepair = prompt.includes("## What failed before");
      const files = isRepair ? ticket.forgotten : ticket.files;
      for (const [path, text] of Object.entries(files)) {
        mkdirSync(dirname(path), { recursive: true });
        writeFileSync(path, text);
      }
      return `Wrote ${Object.keys(files).join(" and ")}.`;
    }
    case "self_review": {
      const missing = Object.keys(ticket.forgotten).filter((path) => !existsSync(path));
      const findings = missing.map((file) => ({ severity: "blocking", file, message: "The ticket asks for a test, and there is none." }));
      const verdict = findings.length > 0 ? "fail" : "pass";
      const summary = findings.length > 0 ? "A test is missing." : "It does what the ticket asks.";
      return `I read the change.\n\n\`\`\`json\n${JSON.stringify({ verdict, summary, findings }, null, 2)}\n\`\`\``;
    }
    default:
      return "It is as simple as it can be.";
  }
}

process.stdout.write(`${await main()}\n`);
