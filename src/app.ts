import { styleText } from "node:util";
import type { Config } from "./domain/config.ts";
import { formatFinding } from "./domain/errors.ts";

/** A place to write text to. */
export interface Output {
  write(text: string): unknown;
  isTTY?: boolean;
  columns?: number;
}

export type Style = Parameters<typeof styleText>[0];

/** What every command gets: the world outside the program, and the configuration once it is asked for. */
export interface Context {
  env: Readonly<Record<string, string | undefined>>;
  cwd: string;
  version: string;
  /** Data. */
  stdout: Output;
  /** Talk. */
  stderr: Output;
  /** The `--config` that was given. */
  configFile: string | undefined;
  quiet: boolean;
  /** Colours and emphasis, where stdout shows them. */
  style(style: Style, text: string): string;
  /** Says something that is not data; nothing with --quiet. */
  say(text: string): void;
  /** Reads the configuration; warnings about it are said once. Throws a UserError when there is none that can be used. */
  config(): Promise<Config>;
}

/** What the command line and the process offer. */
export interface ContextParts {
  env: Context["env"];
  cwd: string;
  version: string;
  stdout: Output;
  stderr: Output;
  options: { config?: string; quiet?: boolean; color?: boolean };
}

/** Wires the outside world into what commands work with. */
export function createContext({ env, cwd, version, stdout, stderr, options }: ContextParts): Context {
  let loaded: Promise<Config> | undefined;
  const quiet = options.quiet ?? false;
  const colored = usesColor(env, stdout, options.color ?? true);
  const say = (text: string) => {
    if (!quiet) stderr.write(`${text}\n`);
  };
  return {
    env,
    cwd,
    version,
    stdout,
    stderr,
    configFile: options.config,
    quiet,
    style: (style, text) => (colored ? styleText(style, text, { validateStream: false }) : text),
    say,
    config() {
      loaded ??= import("./inputs/config.ts").then(({ loadConfig }) => {
        const { config, findings } = loadConfig({ explicit: options.config, env, cwd });
        for (const finding of findings) say(`warning: ${formatFinding(finding)}`);
        return config;
      });
      return loaded;
    },
  };
}

/** https://no-color.org and its opposite; a terminal decides when neither says anything. */
function usesColor(env: Context["env"], stdout: Output, wanted: boolean): boolean {
  if (!wanted || env.NO_COLOR) return false;
  const force = env.FORCE_COLOR;
  if (force !== undefined) return force !== "0" && force !== "false";
  return stdout.isTTY === true && env.TERM !== "dumb";
}
