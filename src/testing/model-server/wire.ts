import type { Action } from "./script.ts";

/** What a model request says, whichever API it came through. */
export interface Asked {
  model: string;
  stream: boolean;
  /** The prompts of a person, oldest first, without what the CLI adds around them. */
  prompts: string[];
  /** The ids of the tool calls that followed the last prompt. */
  callIds: string[];
  /** Names of the tools the CLI offers. */
  tools: string[];
  /** The session id, where the body carries it. */
  session?: string;
}

/** One event of a stream; its `type` names it on the wire. */
interface StreamEvent {
  type: string;
  [field: string]: unknown;
}

/** A reply as an API writes it: a stream of events or one JSON document. */
export type Answer = { events: readonly StreamEvent[] } | { whole: unknown };

/** One answer of the model on the wire: a text, or a text and one action. */
export interface Reply {
  text: string | undefined;
  action: Action | undefined;
  usage: { inputTokens: number; outputTokens: number };
}

/** Gives the id of the nth tool call of a reply, or of something else in it. */
export type ReplyIds = (part: number | string) => string;

/**
 * Ids that carry the number of the turn and the name of the reply. The next request repeats them, so that request alone tells the
 * server what comes next.
 */
export function replyIds(turn: number, reply: string): ReplyIds {
  return (part) => `call_t${turn}_${part}_${reply}`;
}

/** The turn and the reply that a tool call belongs to. */
export function parseCallId(id: string): { turn: number; reply: string } | undefined {
  const [, turn, reply] = /^call_t(\d+)_\w+_(\w+)$/.exec(id) ?? [];
  return turn === undefined || reply === undefined ? undefined : { turn: Number(turn), reply };
}
