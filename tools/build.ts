/**
 * Bundles src/ into dist/: `node tools/build.ts`. Every library is bundled but PI, so PI is the only dependency at run time.
 * `--out <folder>` builds elsewhere; `--changes <file>` first changes sources as this JSON says: [{file, find, replace}].
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { type BuildOptions, build, type Metafile, type Plugin } from "esbuild";

const root = dirname(import.meta.dirname);
const { values: options } = parseArgs({ options: { out: { type: "string" }, changes: { type: "string" } } });
const dist = resolve(options.out ?? join(root, "dist"));
const changes: { file: string; find: string; replace: string }[] = options.changes ? JSON.parse(readFileSync(options.changes, "utf8")) : [];
const entries = ["src/cli.ts", "src/phases/checks-runner.ts", "src/commands/demo-agent.ts"];
/** One shim runs beside every agent, so it has to stay small. */
const shimEntry = "src/executors/shim.ts";
/** What people wait for most: with its thirty modules in one file it loads 10 ms sooner. */
const glanceEntry = "src/commands/status-glance.ts";
const tooHeavyForShim = ["zod", "yaml", "commander", "nunjucks", "pino", "execa"];
const distUrlPlaceholder = "__PATH_TO_DIST__";

/** A module that looks for files beside itself finds them as if it had been compiled one to one, whatever chunk it is in. */
const ownUrls: Plugin = {
  name: "own-urls",
  setup({ onLoad }) {
    onLoad({ filter: /\/src\/.*\.ts$/ }, ({ path }) => {
      const original = readFileSync(path, "utf8");
      const text = changed(relative(root, path), original);
      if (!text.includes("import.meta")) return text === original ? undefined : { contents: text, loader: "ts" };
      const compiled = JSON.stringify(relative(join(root, "src"), path).replace(/\.ts$/, ".js"));
      const contents = text
        .replaceAll("import.meta.url", `new URL(${compiled}, orchestratorDist).href`)
        .replaceAll("import.meta.filename", `orchestratorFileURLToPath(new URL(${compiled}, orchestratorDist))`)
        .replaceAll("import.meta.dirname", `orchestratorDirname(orchestratorFileURLToPath(new URL(${compiled}, orchestratorDist)))`);
      if (contents.includes("import.meta")) throw new Error(`${path}: of import.meta only url, filename and dirname survive bundling`);
      return { contents, loader: "ts" };
    });
  },
};

/** A source as `--changes` wants it: what is to be replaced has to be there exactly once. */
function changed(file: string, text: string): string {
  return changes.reduce((before, change) => {
    if (change.file !== file) return before;
    if (before.split(change.find).length !== 2) throw new Error(`${file} does not hold exactly once: ${change.find}`);
    return before.replace(change.find, () => change.replace);
  }, text);
}

/**
 * What a package imports for features that we do not use, and the little that is loaded instead: importing the process as
 * a module opens all its streams, which takes 4 ms, and the means to start programs take 3 ms.
 */
const spared: Record<string, string> = {
  "node:process": "export default process;",
  "node:child_process": 'export default { spawn: (...args) => process.getBuiltinModule("node:child_process").spawn(...args) };',
};
const slimPackages: Plugin = {
  name: "slim-packages",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:(process|child_process)$/ }, ({ path, importer }) =>
      /\/node_modules\/commander\//.test(importer) ? { path, namespace: "spared", sideEffects: false } : undefined,
    );
    onLoad({ filter: /./, namespace: "spared" }, ({ path }) => ({ contents: spared[path] ?? "", loader: "js" }));
  },
};

/** What is bundled alone is another file for the rest. */
const filesOfTheirOwn: Plugin = {
  name: "files-of-their-own",
  setup({ onResolve }) {
    onResolve({ filter: /\/status-glance\.ts$/ }, ({ kind }) =>
      kind === "dynamic-import" ? { path: "../commands/status-glance.cjs", external: true } : undefined,
    );
  },
};

/**
 * Importing a module of Node's own makes all that it holds, which is 5 ms for node:fs alone and 4 ms for node:util; asking
 * for it makes only what is taken.
 */
function withBuiltinsOnDemand(text: string): string {
  return text.replace(/^import (\w+|\{[^}]*\}) from ("node:[\w/]+");/gm, (_, names: string, name: string) => {
    return `const ${names.replaceAll(" as ", ": ")} = process.getBuiltinModule(${name});`;
  });
}

const ownPlace = (url: string) => [
  'const { dirname: orchestratorDirname } = process.getBuiltinModule("node:path");',
  'const { fileURLToPath: orchestratorFileURLToPath, pathToFileURL: orchestratorPathToFileURL } = process.getBuiltinModule("node:url");',
  `const orchestratorDist = new URL("${distUrlPlaceholder}", ${url});`,
];
/** One line each; files that need nothing of it do without. */
const banners = {
  esm: ['const require = process.getBuiltinModule("node:module").createRequire(import.meta.url);', ...ownPlace("import.meta.url")].join(
    " ",
  ),
  cjs: ownPlace("orchestratorPathToFileURL(__filename)").join(" "),
};

const started = performance.now();
rmSync(dist, { recursive: true, force: true });
const common = {
  absWorkingDir: root,
  outbase: "src",
  outdir: dist,
  bundle: true,
  platform: "node",
  target: "node24",
  sourcemap: "linked",
  sourcesContent: false,
  minify: false,
  legalComments: "none",
  plugins: [ownUrls, slimPackages, filesOfTheirOwn],
  // Its modules for browsers are the same code; those for Node are CommonJS, which starts slower in a bundle.
  alias: { yaml: join(root, "node_modules/yaml/browser/index.js") },
  // It finds its own files beside itself, and is loaded by those commands alone that plan.
  external: ["@mariozechner/pi-coding-agent"],
  metafile: true,
  write: false,
  logLevel: "warning",
} as const satisfies BuildOptions;
const program = await build({
  ...common,
  entryPoints: entries.filter((entry) => existsSync(join(root, entry))),
  chunkNames: "chunks/[name]-[hash]",
  splitting: true,
  format: "esm",
  banner: { js: banners.esm },
});
// One CommonJS file starts 8 ms sooner than modules.
const alone = await build({
  ...common,
  entryPoints: [shimEntry, glanceEntry],
  format: "cjs",
  outExtension: { ".js": ".cjs" },
  banner: { js: banners.cjs },
});
const metafile: Metafile = {
  inputs: { ...program.metafile.inputs, ...alone.metafile.inputs },
  outputs: { ...program.metafile.outputs, ...alone.metafile.outputs },
};
for (const { path, text } of [...program.outputFiles, ...alone.outputFiles]) {
  const format = path.endsWith(".cjs") ? "cjs" : "esm";
  const rest = text.replace(banners[format], "");
  const needsPlace = /\borchestrator(?:Dist|Dirname|FileURLToPath)\b/.test(rest);
  if (needsPlace && path.endsWith("shim.cjs")) throw new Error(`${shimEntry} looks for files beside itself`);
  const kept = needsPlace || (format === "esm" && /\brequire\b/.test(rest)) ? text : rest;
  const placed = kept.replace(distUrlPlaceholder, `${relative(dirname(path), dist) || "."}/`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, format === "esm" ? withBuiltinsOnDemand(placed) : placed);
}
const { outputs } = metafile;
mkdirSync(dist, { recursive: true });
writeFileSync(join(dist, "THIRD-PARTY-LICENSES.txt"), thirdPartyLicences(metafile));

// Node finds the named exports of a CommonJS package; the bundled chunk has a default export alone.
for (const [path, { imports }] of Object.entries(metafile.inputs)) {
  const unnamed = imports.find((i) => i.kind === "dynamic-import" && metafile.inputs[i.path]?.format === "cjs");
  if (unnamed && !path.includes("node_modules/")) {
    throw new Error(`${path} imports ${unnamed.original} lazily; import it by name in a module of its own, and that module lazily.`);
  }
}

for (const [path, output] of Object.entries(outputs)) {
  if (output.entryPoint === undefined || ![...entries, shimEntry].includes(output.entryPoint)) continue;
  const { bytes, packages } = staticallyLoaded(outputs, path);
  process.stdout.write(`${path}: ${Math.ceil(bytes / 1024)} KiB at start${packages.length > 0 ? `, with ${packages.join(", ")}` : ""}\n`);
  if (output.entryPoint !== shimEntry) continue;
  const heavy = packages.filter((name) => tooHeavyForShim.includes(name));
  if (heavy.length > 0)
    throw new Error(`${path} loads ${heavy.join(", ")} at its start; every agent would pay for that. Import them lazily.`);
}
process.stdout.write(`built ${relative(root, dist)}/ in ${Math.round(performance.now() - started)} ms\n`);

/** What an output file loads before its first own line runs: size of the code, and the packages it comes from. */
function staticallyLoaded(all: Metafile["outputs"], entry: string): { bytes: number; packages: string[] } {
  const files = new Set([entry]);
  for (const file of files) {
    for (const { path, kind } of all[file]?.imports ?? []) if (kind === "import-statement" && path in all) files.add(path);
  }
  const loaded = [...files].flatMap((file) => all[file] ?? []);
  const packages = loaded.flatMap(({ inputs }) => packagesOf(inputs).map(({ name }) => name));
  return { bytes: loaded.reduce((sum, { bytes }) => sum + bytes, 0), packages: [...new Set(packages)].sort() };
}

/** The npm packages that contributed code, with their folders. */
function packagesOf(inputs: Metafile["outputs"][string]["inputs"]): { name: string; folder: string }[] {
  return Object.entries(inputs).flatMap(([path, { bytesInOutput }]) => {
    const match = /^(.*node_modules\/((?:@[^/]+\/)?[^/]+))\//.exec(path);
    return match?.[1] && match[2] && bytesInOutput > 0 ? [{ name: match[2], folder: match[1] }] : [];
  });
}

/** The licence texts of everything bundled, as their terms demand of whoever passes copies on. */
function thirdPartyLicences(metafile: Metafile): string {
  const found = Object.values(metafile.outputs).flatMap(({ inputs }) => packagesOf(inputs));
  const folders = [...new Set(found.map(({ folder }) => folder))].sort();
  const sections = folders.map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8"));
    const files = readdirSync(join(root, folder)).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file));
    if (files.length === 0 && !license) throw new Error(`${folder} says nothing about its licence, so it cannot be bundled`);
    const texts = files.map((file) => readFileSync(join(root, folder, file), "utf8").trim());
    return [`${name} ${version} (${license ?? "see below"})`, ...texts].join("\n\n");
  });
  return `This program contains the following packages.\n\n${sections.map((section) => `${"=".repeat(80)}\n${section}\n`).join("\n")}`;
}
