import type { Finding } from "../domain/errors.ts";

/** Findings for a model: one line each for what and where, and one for how to mend it. Errors come first. */
export function findingLines(findings: readonly Finding[]): string[] {
  const sorted = findings.toSorted((a, b) => Number(b.severity === "error") - Number(a.severity === "error"));
  return sorted.flatMap(({ severity, rule, file, line, field, message, fix }) => {
    const place = [...(line === undefined ? [] : [`${file}:${line}`]), ...(field ? [field] : [])].join(" ");
    return [`- ${severity}: ${place ? `${place}: ` : ""}${message} [${rule}]`, ...(fix ? [`  fix: ${fix}`] : [])];
  });
}

/** `2 errors, 1 warning`. */
export function findingCounts(findings: readonly Finding[]): string {
  const count = (severity: Finding["severity"]) => {
    const n = findings.filter((finding) => finding.severity === severity).length;
    return `${n} ${severity}${n === 1 ? "" : "s"}`;
  };
  return `${count("error")}, ${count("warning")}`;
}
