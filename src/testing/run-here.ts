import { main } from "../main.ts";

/** What a command line came to. */
export interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a command line in this process, without a terminal: most of what a command takes of its time is to start a process. */
export async function runHere({ env, cwd }: { env: NodeJS.ProcessEnv; cwd: string }, ...argv: string[]): Promise<Result> {
  const said = { stdout: "", stderr: "" };
  const into = (stream: keyof typeof said) => ({
    write(text: string) {
      said[stream] += text;
    },
  });
  const code = await main(argv, { env, cwd: () => cwd, stdout: into("stdout"), stderr: into("stderr") }, () => {});
  return { code, ...said };
}
