import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { isAlive } from "../executors/process-identity.ts";
import { type DaemonRecord, readDaemonRecord } from "../state/daemon-record.ts";
import { type TestHome, testHome } from "./home.ts";

/** A home whose runs wait until they are released; all are when the test has finished, or the home is gone. */
export interface HeldHome extends TestHome {
  /** `<ticket> <run>` of every run that began. */
  starts(): string[];
  /** Lets the runs of a ticket end. */
  release(ticketId: string): void;
  /** The process id of the script that a ticket's run is. */
  program(ticketId: string): number;
  /** The daemon's log so far. */
  log(): string;
}

/** Makes one with the plan "p" of these tickets, each with one phase "only". */
export function heldHome(...ticketIds: string[]): HeldHome {
  const home = testHome();
  const ledger = join(home.dir, "ledger");
  const go = (name: string) => join(home.dir, `go-${name}`);
  home.writeWorkflow(
    "held.yaml",
    "name: held\nphases:\n  - { id: only, type: script, command: step.sh, onSuccess: done }\n  - { id: done, type: terminal }\n",
  );
  home.writeScript(
    "step.sh",
    `echo "$ORCH_TICKET $ORCH_ATTEMPT $$" >> ${ledger}
until [ -e ${home.dir}/go-$ORCH_TICKET ] || [ -e ${go("all")} ] || [ ! -e ${ledger} ]; do sleep 0.02; done
`,
  );
  if (ticketIds.length > 0)
    home.writePlan(
      { id: "p", workflow: "held" },
      ticketIds.map((ticketId) => ({ ticketId })),
    );
  onTestFinished(() => writeFileSync(go("all"), ""));
  const lines = () => (existsSync(ledger) ? readFileSync(ledger, "utf8").split("\n").filter(Boolean) : []);
  return {
    ...home,
    starts: () => lines().map((line) => line.split(" ").slice(0, 2).join(" ")),
    release: (ticketId) => writeFileSync(go(ticketId), ""),
    program: (ticketId) =>
      Number(
        lines()
          .find((line) => line.startsWith(`${ticketId} `))
          ?.split(" ")[2],
      ),
    log() {
      const file = join(home.home, "logs", "orchestrator.log");
      return existsSync(file) ? readFileSync(file, "utf8") : "";
    },
  };
}

/** The daemon that runs in the background of a home; it is killed with the test at the latest. */
export function backgroundDaemon(home: TestHome): DaemonRecord {
  const record = readDaemonRecord(home.home);
  if (!record) throw new Error("no daemon has left a daemon.json");
  onTestFinished(() => {
    if (isAlive(record)) process.kill(record.pid, "SIGKILL");
  });
  return record;
}
