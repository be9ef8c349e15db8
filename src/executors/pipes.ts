import { execFile } from "node:child_process";
import { closeSync, constants, openSync, rmSync, unlinkSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";

/** A pipe for a child: `writeFd` is for its stdio and must be closed once it runs. */
export interface Pipe {
  writeFd: number;
  stream: Socket;
}

/** Two fifos on their way. */
export interface Fifos {
  paths: [string, string];
  made: Promise<unknown>;
}

/**
 * Begins to make real pipes, by way of fifos in `folder`. What Node itself calls a pipe is a socket, and a script that
 * writes to /dev/stderr fails on one ("No such device or address").
 */
export function makeFifos(folder: string): Fifos {
  const paths: [string, string] = [join(folder, `pipe-${process.pid}-0`), join(folder, `pipe-${process.pid}-1`)];
  const made = promisify(execFile)("mkfifo", ["-m", "600", ...paths], { env: { PATH: process.env.PATH } });
  made.catch(() => {}); // whoever opens them hears of it
  return { paths, made };
}

/** Opens both ends of the pipes; their names are gone then. Rejects when they could not be made. */
export async function openPipes(fifos: Fifos): Promise<[Pipe, Pipe]> {
  await fifos.made;
  const [stdout, stderr] = fifos.paths;
  return [openPipe(stdout), openPipe(stderr)];
}

function openPipe(path: string): Pipe {
  const readFd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writeFd = openSync(path, constants.O_WRONLY);
  unlinkSync(path);
  return { writeFd, stream: new Socket({ fd: readFd, readable: true, writable: false }) };
}

/** Removes pipes that nobody is going to open. */
export async function dropFifos(fifos: Fifos): Promise<void> {
  await fifos.made.catch(() => {});
  for (const path of fifos.paths) rmSync(path, { force: true });
}

/** Closes our copy of the end that the child writes to, without which its end is never seen. */
export function closeWriteEnds(pipes: readonly Pipe[]): void {
  for (const { writeFd } of pipes) closeSync(writeFd);
}
