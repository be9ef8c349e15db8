import { join } from "node:path";
import { disk, hasCode, linkExclusiveSync, namesIn, syncDir, writeDurable } from "./atomic-write.ts";
import { readTextFile, Unreadable } from "./json.ts";
import { pinnedWorkflowFile, pinnedWorkflowsDir } from "./layout.ts";

/** The text of a workflow that a plan's tickets run under, and where it lies. */
export interface PinnedWorkflow {
  file: string;
  text: string;
}

/** Reads the workflow of this name that is pinned with a plan; undefined when none is. Throws Unreadable and system errors. */
export function readPinned(stateDir: string, planId: string, name: string): PinnedWorkflow | undefined {
  for (let tries = 0; ; tries++) {
    const file = pinnedFile(stateDir, planId, name);
    if (file === undefined) return undefined;
    const read = readTextFile(file);
    if (read !== undefined) return { file, text: read.text };
    // One that is gone by now was renamed by replacePinned().
    if (tries === 10) throw new Unreadable({ file, message: "changes all the time", hint: "stop the program that keeps writing it" });
  }
}

function pinnedFile(stateDir: string, planId: string, name: string): string | undefined {
  const dir = pinnedWorkflowsDir(stateDir, planId);
  const found = namesIn(dir).find((file) => file.startsWith(`${name}.`) && /^[0-9a-f]{12}\.yaml$/.test(file.slice(name.length + 1)));
  return found === undefined ? undefined : join(dir, found);
}

/** Pins a workflow that is not pinned yet, durably. Throws system errors: ENOENT where the plan's folder has gone. */
export function pinWorkflow(stateDir: string, planId: string, name: string, text: string): void {
  try {
    disk.mkdirSync(pinnedWorkflowsDir(stateDir, planId), { mode: 0o700 });
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
  }
  linkExclusiveSync(fileFor(stateDir, planId, name, text), text);
}

/**
 * Puts another text in the place of the one that is pinned, durably. The file takes its new content first and then the
 * name that tells the digest of it, so that at no instant there is none, or more than one. Throws system errors.
 */
export async function replacePinned(stateDir: string, planId: string, name: string, text: string): Promise<void> {
  const file = pinnedFile(stateDir, planId, name);
  if (file === undefined) return pinWorkflow(stateDir, planId, name, text);
  await writeDurable(file, text);
  await disk.rename(file, fileFor(stateDir, planId, name, text));
  await syncDir(pinnedWorkflowsDir(stateDir, planId));
}

function fileFor(stateDir: string, planId: string, name: string, text: string): string {
  // Whoever only reads, as `status` does, starts faster without it.
  const { createHash } = process.getBuiltinModule("node:crypto");
  return pinnedWorkflowFile(stateDir, planId, name, createHash("sha256").update(text).digest("hex").slice(0, 12));
}
