import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { findProgram } from "../../lib/find-program.ts";

const cache = join(dirname(dirname(dirname(import.meta.dirname))), "node_modules", ".cache", "gh");

/**
 * The path of the real gh: the one on PATH, else Debian's, which is fetched once into node_modules/.cache. That needs apt and a
 * mirror, but neither root nor any change of the system. Throws where there is neither: a test that needs gh is never left out.
 */
export async function realGh(): Promise<string> {
  const installed = findProgram("gh", process.env) ?? cached();
  if (installed) return installed;
  try {
    await fetchFromDebian();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(
      `These tests run the real gh. It is not on PATH, and could not be fetched with apt: ${why}\n` +
        "Install it (https://cli.github.com, or apt-get install gh, or brew install gh) and run the tests again.",
    );
  }
  const fetched = cached();
  if (fetched) return fetched;
  throw new Error(`Debian's package of gh was unpacked in ${cache}, and there is no usr/bin/gh in it.`);
}

function cached(): string | undefined {
  return existsSync(join(cache, "usr/bin/gh")) ? join(cache, "usr/bin/gh") : undefined;
}

/** Package lists and package go to folders of our own, so the system's stay as they are. apt checks the signatures. */
async function fetchFromDebian(): Promise<void> {
  mkdirSync(dirname(cache), { recursive: true });
  const work = mkdtempSync(`${cache}-`);
  try {
    for (const folder of ["lists/partial", "archives/partial", "unpacked"]) mkdirSync(join(work, folder), { recursive: true });
    const own = ["-qq", "-o", `Dir::State::lists=${work}/lists`, "-o", `Dir::Cache=${work}`, "-o", "APT::Sandbox::User="];
    const apt = (...args: string[]) => execa("apt-get", [...own, ...args], { cwd: work, timeout: 120_000 });
    await apt("update");
    await apt("download", "gh");
    const [deb] = readdirSync(work).filter((file) => file.endsWith(".deb"));
    await execa("dpkg-deb", ["-x", deb ?? "gh.deb", "unpacked"], { cwd: work });
    // Another test process may have been quicker; its copy is as good.
    try {
      renameSync(join(work, "unpacked"), cache);
    } catch (error) {
      if (!cached()) throw error;
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
