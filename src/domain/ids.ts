const dosNames = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/** Why a string cannot be a plan or ticket id, or undefined when it can. Ids become file and folder names everywhere. */
export function idProblem(id: string): string | undefined {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(id)) {
    return "an id is 1 to 64 letters, digits, dots, dashes or underscores and starts with a letter or digit";
  }
  if (id.includes("..")) return "an id has no two dots in a row";
  if (id.endsWith(".")) return "an id does not end in a dot";
  if (dosNames.test(id)) return "this name is reserved on Windows file systems";
  return undefined;
}

/** Two ids that this maps to the same string would be one file on macOS and Windows. */
export function caseFold(id: string): string {
  return id.normalize("NFC").toLowerCase();
}

/** The ids that differ from another one in case only, each with the first of its spellings in byte order; that one is not among them. */
export function caseTwins(ids: Iterable<string>): Map<string, string> {
  const spellings = new Map<string, string[]>();
  for (const id of new Set(ids)) {
    const same = spellings.get(caseFold(id));
    if (same) same.push(id);
    else spellings.set(caseFold(id), [id]);
  }
  const twins = new Map<string, string>();
  for (const same of spellings.values()) {
    if (same.length === 1) continue;
    const [first = "", ...later] = same.sort();
    for (const id of later) twins.set(id, first);
  }
  return twins;
}
