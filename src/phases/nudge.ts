import type { Session } from "../domain/session.ts";
import type { Ticket } from "../domain/ticket.ts";

/**
 * The conversation in which an agent that got nowhere is to be told so, and in which words. Undefined when that is not what
 * the ticket notes, or this agent has no conversation about this phase.
 */
export function nudgeOf(
  ticket: Ticket,
  its: { phase: string; agent: string; provider: string },
): { session: Session; prompt: string } | undefined {
  const { stuck } = ticket;
  if (stuck?.answer !== "nudge") return undefined;
  const last = ticket.phaseHistory.findLast(
    ({ phase, agent, session }) => phase === its.phase && agent === its.agent && session?.provider === its.provider,
  );
  if (last?.session === undefined) return undefined;
  const found = stuck.phase !== its.phase && Object.hasOwn(ticket.feedback, stuck.phase) ? ticket.feedback[stuck.phase] : undefined;
  const prompt = `Your work on this task is not getting anywhere. What was seen:

${stuck.evidence}
${found === undefined ? "" : `\n${found}\n`}
Do not go on like that. Say first, in a few sentences, why it does not work, and look at \`git status\` and \`git diff\`. Then do something else that solves the task as it was given, and finish it.
`;
  return { session: last.session, prompt };
}

/** What comes before the task where an agent begins anew because it got nowhere; "" where it did not. */
export function anewText({ stuck }: Ticket): string {
  if (stuck === null) return "";
  return `Earlier work on the task below did not get anywhere. What was seen:

${stuck.evidence}

The worktree may hold what was tried: look at \`git status\`, \`git log\` and \`git diff\` first. Do not try the same once more: find out why it failed and take a different approach, even if that means to undo some of it.

`;
}
