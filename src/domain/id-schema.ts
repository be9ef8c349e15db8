import * as z from "zod";
import { idProblem } from "./ids.ts";

/** Plan, ticket and phase ids. Compare with `caseFold` where a file system might fold case. */
export const Id = z.string().check((ctx) => {
  const problem = idProblem(ctx.value);
  if (problem) ctx.issues.push({ code: "custom", message: problem, input: ctx.value });
});
