import { existsSync, readdirSync, readFileSync } from "node:fs";

/** The pids of processes whose environment has this entry, `NAME=value`. */
export function processesWith(variable: string): string[] {
  if (!existsSync("/proc/self/environ")) return [];
  return readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").includes(variable);
      } catch {
        return false; // gone in between, or not ours to read
      }
    });
}
