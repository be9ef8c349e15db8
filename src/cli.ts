import { main } from "./main.ts";

let keepsRunning = false;
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    // Whoever read the output has seen enough, as `head` has.
    if (!keepsRunning) process.exit();
  });
}
const { env, stdout, stderr } = process;
process.exitCode = await main(process.argv.slice(2), { env, cwd: () => process.cwd(), stdout, stderr }, ({ background = false }) => {
  keepsRunning = background;
});
