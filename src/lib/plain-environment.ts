/** What every child may see of our environment; all else, tokens above all, stays out. */
const allowed = [
  "PATH",
  "HOME",
  "USER",
  "LOGNAME",
  "SHELL",
  "LANG",
  "LANGUAGE",
  "TERM",
  "TZ",
  "TMPDIR",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
  "http_proxy",
  "https_proxy",
  "no_proxy",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  "NODE_EXTRA_CA_CERTS",
  "GIT_CONFIG_GLOBAL",
  "XDG_CONFIG_HOME",
  "XDG_DATA_HOME",
  "XDG_CACHE_HOME",
  "IS_SANDBOX",
];

/** The variables that a child gets without being told of any, and those that are named besides. */
export function plainEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  besides: readonly string[] = [],
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter(
      (entry): entry is [string, string] =>
        entry[1] !== undefined && (allowed.includes(entry[0]) || entry[0].startsWith("LC_") || besides.includes(entry[0])),
    ),
  );
}
