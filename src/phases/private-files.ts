import { rmSync } from "node:fs";
import { join } from "node:path";
import { type AgentCommand, privateFolder } from "../agents/agent.ts";
import { makeDirBelow, writeDurable } from "../state/atomic-write.ts";

/** Writes what a run's program alone is to read into the run's folder, which lies below `home`. Throws system errors. */
export async function writePrivateFiles(home: string, runDir: string, files: AgentCommand["files"]): Promise<void> {
  if (Object.keys(files).length > 0) await makeDirBelow(home, join(runDir, privateFolder));
  for (const [path, text] of Object.entries(files)) await writeDurable(join(runDir, path), text);
}

/** Takes them away, also what was only begun to be written. Throws system errors; that there is nothing is none. */
export function removePrivateFiles(runDir: string): void {
  rmSync(join(runDir, privateFolder), { recursive: true, force: true });
}
