import { exitCodes } from "../domain/errors.ts";

/** Requests to stop, as they come from Ctrl-C and from service managers. */
export interface StopSignals {
  /** Called with each request, also those that came before. */
  listen(callback: () => void): void;
  /** How a program ends that such a request has ended. */
  ending(): "interrupted" | "terminated";
  close(): void;
}

/** Further requests than this end the process at once: whatever it left is taken up by the next one. */
const patience = 3;

/** Takes SIGINT and SIGTERM over until it is closed. */
export function onStopSignals(): StopSignals {
  const listeners: (() => void)[] = [];
  let last: "interrupted" | "terminated" = "interrupted";
  let count = 0;
  const request = (kind: typeof last) => () => {
    last = kind;
    count += 1;
    if (count > patience) process.exit(exitCodes[kind]);
    for (const listener of listeners) listener();
  };
  const interrupt = request("interrupted");
  const terminate = request("terminated");
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", terminate);
  return {
    listen(callback) {
      listeners.push(callback);
      for (let missed = 0; missed < count; missed++) callback();
    },
    ending: () => last,
    close() {
      process.off("SIGINT", interrupt);
      process.off("SIGTERM", terminate);
    },
  };
}
