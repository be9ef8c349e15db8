/** What stands in the place of a secret. Free of quotes and backslashes, so that a JSON line stays JSON. */
const redacted = "[redacted]";

const secretName = /TOKEN|KEY|SECRET|PASS|AUTH(?!OR)|CRED/i;
const minimumSecretLength = 8;

/** One cheap look that tells most lines apart from those worth the exact patterns below. */
const suspicious = /gh[a-z]_|github_pat_|glpat-|sk-|AKIA|ASIA|xox|xapp-|lin_api_|eyJ|-----BEGIN|:\/\/|AIza|npm_/;

const privateKey = /-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----(?:\\[nrt]|[A-Za-z0-9+/=\s:,.-])*/g;

/** Prefixes that vendors gave their tokens so that scanners find them; each is precise enough to be replaced unseen. */
const tokens = [
  /\bgh[pousr]_[A-Za-z0-9]{20,255}/g,
  /\bgithub_pat_[A-Za-z0-9_]{22,255}/g,
  /\bglpat-[A-Za-z0-9_-]{20,}/g,
  /\bsk-ant-[A-Za-z0-9_-]{16,}/g,
  /\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{32,}/g,
  /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g,
  /\bxox[abeoprs]-[A-Za-z0-9-]{10,}/g,
  /\bxapp-[A-Za-z0-9-]{20,}/g,
  /\blin_api_[A-Za-z0-9]{20,}/g,
  /\bnpm_[A-Za-z0-9]{36}\b/g,
  /\bAIza[A-Za-z0-9_-]{35}\b/g,
  /\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}/g,
];

const urlUserinfo = /\b([a-z][a-z0-9+.-]{1,20}:\/\/)[^\s/@"'\\]{1,256}@/gi;

/**
 * The values of an environment that must never be written down, judged by their names, longest first. A value of
 * several lines counts line by line, and each also in the form that it takes inside JSON and inside a URL.
 */
export function secretValues(env: Readonly<Record<string, string | undefined>>): string[] {
  const values = new Set<string>();
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined || !secretName.test(name)) continue;
    // MAX_OUTPUT_TOKENS=32000000 counts tokens; it is none.
    if (/TOKENS$/i.test(name) && /^\d+$/.test(value)) continue;
    for (const line of value.split(/\r?\n/)) {
      if (line.trim().length < minimumSecretLength) continue;
      for (const form of [line, JSON.stringify(line).slice(1, -1), encodeURIComponent(line)]) values.add(form);
    }
  }
  return [...values].sort((a, b) => b.length - a.length);
}

/**
 * Makes a function that takes the lines of one stream, in order and without their ends, and gives them back with every
 * secret replaced by "[redacted]": the given exact values, tokens with a well-known prefix, passwords in URLs, and
 * private keys, also over several lines.
 */
export function createRedactor(values: readonly string[]): (line: string) => string {
  const exact =
    values.length === 0 ? null : new RegExp(values.map((value) => value.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")).join("|"), "g");
  let insidePrivateKey = false;
  return (line) => {
    if (insidePrivateKey) {
      insidePrivateKey = !line.includes("-----END") && /^[\s|>]*[A-Za-z0-9+/=:,. -]*$/.test(line);
      if (insidePrivateKey || line.includes("-----END")) return redacted;
    }
    let text = exact === null ? line : line.replace(exact, redacted);
    if (!suspicious.test(text)) return text;
    if (text.includes("PRIVATE KEY")) {
      text = text.replace(privateKey, (found, offset: number) => {
        if (!found.includes("-----END") && offset + found.length === text.length) insidePrivateKey = true;
        return redacted;
      });
    }
    for (const token of tokens) text = text.replace(token, redacted);
    return text.replace(urlUserinfo, `$1${redacted}@`);
  };
}
