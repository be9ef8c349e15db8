import { stripVTControlCharacters } from "node:util";
import type { FailureCategory } from "../domain/failure.ts";

/** What a CLI said about its failure, the surest first. Nothing that a tool printed or a prompt contains belongs in here. */
export interface FailureSignals {
  /** The CLI's own name of the error: `assistant.error`, `subtype`, `terminal_reason` or `stop_reason` of claude, `stopReason` of pi. */
  codes?: (string | null | undefined)[];
  /** HTTP status of the failed request. */
  status?: number | null | undefined;
  /** The CLI's error message. */
  message?: string | undefined;
  /** A limit that the provider reported as reached, with the time it ends as RFC 3339. */
  limit?: { resetsAt?: string } | undefined;
  stderr?: string | undefined;
  /** The agent's final message; a hint only, and only where it is short. */
  finalText?: string | undefined;
}

/** Names of errors that say more, or something else, than the words in them. */
const byCode: Record<string, FailureCategory> = {
  authentication_failed: "auth",
  oauth_org_not_allowed: "auth",
  billing_error: "usage_limit",
  model_not_found: "incompatible",
  not_found_error: "incompatible",
  refusal: "blocker",
  rapid_refill_breaker: "stuck",
  blocking_limit: "usage_limit",
  error_max_structured_output_retries: "verification",
  stop_hook_prevented: "environment",
  hook_stopped: "environment",
  length: "stuck",
  // gemini, copilot and opencode
  fatal_cancellation_error: "aborted",
  fatal_input_error: "environment",
  quota: "usage_limit",
  context_limit: "stuck",
  provider_auth_error: "auth",
  message_output_length_error: "stuck",
};

/** What the words of an error's name mean, whoever names it; in order, the first that fits decides. Names are in snake_case. */
const byCodeWord: [RegExp, FailureCategory][] = [
  [/max_(?:session_)?(?:turns|steps|iterations|cost)|(?:turn|step|cost)_?limit|budget/, "budget"],
  [
    /context_(length|window|limit|exceeded)|(request|input|prompt|payload|content|context)_too_(large|long)|max_(output_|prompt_)?tokens|tokens?_limit|max_length|overflow|loop_detected/,
    "stuck",
  ],
  [/overload|capacity|high_(demand|load)|(server|model|system)_busy/, "overloaded"],
  [/rate_?limit|too_many|throttl|resource_exhausted|retryable_quota|slow_?down|concurren/, "rate_limit"],
  [/quota|credits?(_|$)|balance|insufficient_funds|(usage|spend\w*|plan)_limit|limit_reached|billing|payment|arrear/, "usage_limit"],
  [
    /(^|_)auth(_|$)|authenti|authori[sz]|credential|api_?key|token_(\w+_)?(expired|revoked|invalid)|(expired|invalid|unrecognized)_(\w+_)?(token|client|signature)|invalid_(grant|client)|login|permission_(denied|error)|access_denied|forbidden|(account|organi[sz]ation|user)_(disabled|suspended|deactivated)/,
    "auth",
  ],
  [
    /(model|deployment|engine)_(is_)?(not|un|deprecated|retired|invalid)|(unknown|invalid|unsupported)_(model|option|flag)|(unknown|unsupported)_(argument|value|parameter|version)|not_supported|unimplemented/,
    "incompatible",
  ],
  [/content_(policy|filter|blocked)|safety|policy_violation|refusal|moderation|prohibited|guardrail|responsible_ai/, "blocker"],
  [
    /^e(conn\w*|notfound|ai_again|timedout|pipe|hostunreach|netunreach)$|connection|network|unavailable|^internal(_|$)|server_error|timeout|timed_out|bad_gateway|deadline|disconnect|socket/,
    "unavailable",
  ],
  [/^e(noent|acces|perm|rofs|nospc|mfile|2big|notdir|dquot)$|config|sandbox|untrusted/, "environment"],
  [/abort|cancell?ed|interrupt/, "aborted"],
];

/** What an HTTP status means by itself. 400 says nothing. */
function byStatus(status: number): FailureCategory | undefined {
  if (status === 401 || status === 403 || status === 407) return "auth";
  if (status === 402) return "usage_limit";
  if (status === 404 || status === 410 || status === 426) return "incompatible";
  if (status === 413) return "stuck";
  if (status === 429) return "rate_limit";
  if (status === 529) return "overloaded";
  return status === 408 || (status >= 500 && status <= 599) ? "unavailable" : undefined;
}

/**
 * The program does not begin the conversation it is told to go on with: it does not know it, cannot read it, or has it open
 * elsewhere.
 */
const noSession =
  /\b(?:conversation|session)\b.{0,60}\b(?:not (?:be )?found|already (?:in use|used)|in use\b|used by|does(?: not|n't) exist|no longer exists)|\b(?:no|unknown|invalid|(?:not|n't) find|requires a valid)\b (?:(?:a|any|such|the|saved|previous|prior|earlier|existing|matching|stored) )*(?:conversation|session|thread|rollout)s?\b|\bsession\b.{0,20}\b(?:corrupt\w*|unreadable|damaged)|\bsession .{0,50}\bis not a uuid|\b(?:error|failed|unable) (?:to )?resum\w* |\bsession\b.{0,60}\balready exists/i;

/** Whether an error is about a conversation that could not be gone on with. */
export function isAboutSession(message: string): boolean {
  return noSession.test(plain(message));
}

/** Families of wording, in order: the first that fits decides. Each is words that belong together, in either order where people use both. */
const byWords: [RegExp, FailureCategory][] = [
  [/\bprompt budget\b|\bloop (?:was )?detected|\bdetected an? .{0,20}\bloop\b/i, "stuck"],
  [/\bper[- ](?:day|week|month)\b|\b[rt]pd\b/i, "usage_limit"],
  [
    /\bnot (?:your|a|an|the) (?:usage|plan|account) limit|\bper[- ](?:second|sec|minute|min|hour)\b|\b[rt]pm\b|\b(?:requests|tokens)\/(?:s|sec|m|min)\w*|\b(?:qps|rps)\b|\bquota increase|\bresources? (?:has been |is )?exhausted|\bconcurren\w+\b.{0,40}\b(?:limit|exceed|reach)/i,
    "rate_limit",
  ],
  [/\bdisk\b.{0,15}\b(?:full|quota|space)/i, "environment"],
  [
    /(?<!--)\b(?:maximum|max|limit of|too many)\b[ -](?:\w+ ){0,3}(?:turns|steps|iterations|continuations|cost)\b|\b(?:turn|step|iteration|cost)s? (?:limit|cap)\b|\bafter \d+ (?:turns|steps|iterations)\b|\b(?:turns|steps|iterations|cost)\b.{0,25}\b(?:used up|exceed\w*|reached|exhausted)|\b(?:exceed\w*|reach\w*|over|used up)\b.{0,25}\bbudget|\bbudget\b.{0,25}(?:exceed|reached|used up|exhaust)/i,
    "budget",
  ],
  [noSession, "environment"],
  [
    /\b(?:prompt|input|context|conversation|transcript|request body|payload)\b.{0,30}\b(?:too (?:long|large|big)|exceed\w*|outgr\w+|overflow\w*)|\b(?:exceed\w*|beyond|larger than|longer than|over)\b.{0,40}\b(?:context|output token|token maximum|maximum (?:length|number of tokens))|\bout of (?:room|space|tokens)\b.{0,30}\bcontext|\bcontext (?:window|length|limit|size)\b.{0,40}\b(?:full|exceed\w*|reached|exhausted|overflow\w*|used up)|\bmaximum context|\brequest (?:is |was |entity )?too (?:large|long|big)|output (?:token|length) (?:maximum|limit)|\bmax(?:imum)?[_ ](?:output[_ ])?tokens\b|\btoken count\b|\b(?:not|n't|no longer) fits?\b.{0,40}\bcontext|\b(?:reduce|shorten|trim|compact)\w*\b.{0,30}\b(?:length|prompt|input|context|conversation|messages)\b/i,
    "stuck",
  ],
  [
    /\bviolat\w*\b.{0,40}\bpolic|\b(?:usage|content|safety) polic(?:y|ies)\b|\bcontent filter|\b(?:flagged|filtered|blocked|rejected|refused|stopped|withheld)\b.{0,60}\b(?:polic\w+|safety|violat\w+|moderation|responsible ai|cyber\w*|harm\w*|guardrails?|content|terms)\b|\b(?:safety|moderation|responsible ai)\b.{0,25}\b(?:filter|system|check|block|service)|\bflagged (?:as|for|by)\b|\bprohibited[ _]content|\bfinish[ _]?reason\b.{0,6}\b(?:safety|recitation|blocklist|spii)|\bcontent_filter|\b(?:terms of use|acceptable use)\b|\bguardrail|\b(?:unable|declin\w*|refus\w*) to (?:respond|answer|help|assist|comply|continue)|\b(?:can't|cannot|won't) (?:help|assist) with/i,
    "blocker",
  ],
  [
    /\boverload|\b(?:at|over|beyond|insufficient|not enough|no|out of|limited|lacks?|reached) (?:full |maximum |its |available |spare )?capacity|\bcapacity (?:constraints?|exceeded|reached|exhausted|shortage)|\b(?:high|heavy|heavier|unusual|increased|peak|excessive|higher)\b (?:\w+ ){0,2}(?:demand|load|traffic|volume)|\b(?:server|service|model|provider)s?\b.{0,20}\b(?:too )?busy\b/i,
    "overloaded",
  ],
  [
    /\b(?:usage|plan|spend\w*|session|weekly|daily|monthly|hourly|\d+[- ]?h(?:(?:ou)?rs?)?|subscription|credits?|opus|sonnet)\b(?:(?!rate|retr|turn|context|output).){0,30}\b(?:limits?|caps?|quota|allowance)\b/i,
    "usage_limit",
  ],
  [
    /\b(?:hit|reach\w*|exceed\w*|exhaust\w*|used (?:up|all)|consumed|r[au]n out of|out of|no (?:more|remaining))\b(?:(?!rate|retr|turn|context|output|time|request|size|memory).){0,30}\b(?:limits?|caps?|quota|allowance|credits?|balance)\b/i,
    "usage_limit",
  ],
  [
    /(?<!rate.?|retry.?|turn.?|time.?|size.?)\blimit\b.{0,15}\b(?:reached|hit|exceeded|exhausted|used up)\b|\bquota\b|\ballowance\b|\bcredits?\b.{0,25}\b(?:too low|exhausted|depleted|used up|remaining|left|empty|insufficient)|\binsufficient (?:funds|credits?|balance)|\bout of (?:\w+ ){0,2}usage\b|\busage\b.{0,15}\b(?:exhausted|used up)|\b(?:purchase|buy|add) (?:more )?credits|\bbilling\b|\bpayment\b|\bspending\b|\bspend cap|\b(?:daily|weekly|monthly)\b.{0,40}\bused up|\bused (?:up|all)\b.{0,30}\b(?:plan|usage|requests|messages|tokens|funds|prompts)\b|\bcredits?\b|\b(?:trial|subscription|plan)\b.{0,20}\b(?:expired|ended|lapsed|inactive)|\btop up\b|\brecharge\b|\bprepaid\b|\bupgrade (?:your plan|to (?:pro|plus|max|team))\b/i,
    "usage_limit",
  ],
  [
    /\brate.?limit|\btoo many (?:\w+ ){0,2}requests|\bthrottl|\bslow(?:ing)? down\b|\blimiting requests|\brequest limit|\btoo (?:fast|quickly|frequent\w*)\b|\btoo many tokens\b/i,
    "rate_limit",
  ],
  [
    /\bmcp (?:servers?|config\w*)|\binvalid mcp|\bsandbox\b.{0,40}\b(?:unavailable|required|missing|fail\w*)|\b(?:un)?trusted (?:directory|folder|workspace)|\b(?:as|with|used by) root\b(?! cause)|\bnot (?:inside |in )?a git repo|\bbwrap\b|\bbubblewrap\b|\bnamespaces?\b|\b(?:fail\w*|could not|cannot|unable)\b.{0,40}\bsandbox|\blandlock\b|\bseccomp\b|\bseatbelt\b/i,
    "environment",
  ],
  [
    /(?<!\w)--?\w[\w-]*\b.{0,20}\bis not valid json|\b(?:input|prompt)\b.{0,15}\b(?:must be|was not|not|is) (?:provided|given|required|empty)|\bno (?:prompt|input)\b.{0,15}\b(?:provided|given)|\b(?:file|directory|folder|path)\b.{0,60}\b(?:not found|not exist|missing|unreadable)|\bno such file|\bnot a directory|(?:^|[\s"'`])\/[\w.-][\w./-]*["'`]?:? .{0,20}\b(?:not found|not exist|missing|unreadable)|\b(?:file|json|toml|ya?ml|config\w*|settings)\b.{0,30}\b(?:could not|cannot|can't) be\b|\b(?:error|problem) (?:parsing|reading|loading|opening|writing)\b|\bversion \S+ not found|\bglibc|\b(?:change|working) directory\b|\bcorrupt(?:ed)?\b|\bconfig\w*\b.{0,80}\b(?:invalid|not valid|malformed|not found|missing|must be|unreadable|syntax)|\b(?:error|fail\w*|unable|cannot|could not|problem)\b.{0,20}\b(?:load|read|pars|process|open|validat)\w*\b.{0,40}(?:\bconfig|\bsettings\b|\.(?:json|toml|ya?ml)\b)/i,
    "environment",
  ],
  [
    /\bmodels?\b(?!.{0,40}\b(?:context|unavailable|capacity)).{0,60}\b(?:not (?:found|exist|supported|available|recogni[sz]ed)|(?:does|do)(?: not|n't) exist|(?:is |was )?(?:unknown|unsupported|deprecated|retired|discontinued)|no longer)|\b(?:unknown|unsupported|invalid|unrecogni[sz]ed|no such) (?:model|provider)|\bmodel\S* not found|\bmodel (?:identifier|id|name)\b.{0,30}\b(?:invalid|wrong|unknown)|\bnot a valid model|\bno (?:endpoints|models) (?:found|match)/i,
    "incompatible",
  ],
  [
    /\b(?:unknown|unexpected|unrecogni[sz]ed|unsupported|invalid|ambiguous|no such|removed) (?:(?:command[- ]line|cli) )?(?:options?|arguments?|flags?|switch|parameters?|subcommand|command)\b|\b(?:option|flag|argument|switch)\b.{0,40}\b(?:(?:was |been |is )?(?:removed|unknown|unexpected|unrecogni[sz]ed|deprecated)|not (?:recogni[sz]ed|supported|known)|no longer)|\binvalid value .{0,60} for '?-|\bargument\b.{0,40}\b(?:is invalid|missing)\b|\ballowed choices\b|\b(?:possible|valid|accepted|allowed|supported) (?:values|choices|levels|options|models)\b|\bchoices:|\binvalid values:|\b(?:missing|required|too many|not enough) (?:required )?(?:arguments?|options?|flags?)\b|\bcannot be used with\b|\b(?:does not|doesn't) support\b|\bunsupported\b|\b(?:is|are) not supported|\bnewer version\b|\b(?:update|upgrade) to (?:the latest|version|v?\d)|\b(?:out of date|outdated|too old)\b|\bminimum (?:\w+ )?version|\brequires? (?:the )?--\w|\brequired for '?--\w/i,
    "incompatible",
  ],
  [
    /\benvironment variable\b.{0,60}\b(?:missing|not set|unset|undefined|empty)|\bmissing environment variable|\bauth\w*\b method|\b(?:log|sign)[- ]?in fail|\bfail\w* (?:to )?(?:log|sign)[- ]?in\b|\b(?:run|use|try|with|via)\b.{0,25}[ /]login\b|\b(?:not|n't|cannot|unable|fail\w*|no)\b.{0,20}\b(?:load|find|found|refresh|obtain|retrieve|get|resolve|determine)\b.{0,30}\b(?:credentials?|token|api key)\b|\bno auth\w*|\bmust be a member\b|\b(?:not|n't|no|without)\b.{0,40}\bpermissions?\b|\bnot (?:entitled|eligible)\b/i,
    "auth",
  ],
  [
    /\bun(?:authori[sz]ed|authenticated)\b|\bnot (?:(?:logged|signed) in|authenticated)\b|\bauth login\b|\b(?:please|must|need to|have to|try to)\b.{0,15}\/?(?:log|sign)[- ]?in\b|\b(?:log|sign)(?:ged)?[- ]?(?:in|out)\b.{0,10}\b(?:again|required|expired|first)|\bre-?authenticat|\bauthenticat\w*\b.{0,20}\b(?:fail\w*|error|required|expired|denied|rejected)|\b(?:fail\w*|could not|cannot|unable) (?:to )?authenticate|\bauthentication.error/i,
    "auth",
  ],
  [
    /\b(?:invalid|incorrect|missing|expired|revoked|wrong|bad|no|unknown|rejected|malformed|provide an?)\b.{0,20}\b(?:api[- _]?key|x-api-key|credentials?|(?:access|auth\w*|oauth|refresh|bearer) token|login)\b|(?:\b|_)(?:api[- _]?key|auth_token|access_token|credentials?|(?:access|auth\w*|oauth|refresh|bearer) token|login|log-?in session|your session)\b.{0,50}\b(?:invalid|incorrect|missing|expired?|revoked|not (?:found|set|valid|provided|accepted|recogni[sz]ed|present)|rejected|required|disabled|denied)/i,
    "auth",
  ],
  [
    /\boauth\b|\bauth\w* token\b|\bforbidden\b|\bnot authori[sz]ed|\baccess (?:is |was )?denied|\b(?:insufficient|missing|lacks?) (?:\w+ )?(?:permissions?|scopes?|privileges?)\b|\b(?:security|session|id|auth\w*|github|your|this|the) token\b.{0,50}\b(?:expired|revoked|invalid\w*|no longer valid)|\bcheck your (?:api key|credentials|token)|\b(?:no|not have an?|n't have an?|without an?)\b.{0,20}\b(?:licen[sc]e|seat|subscription|entitlement)\b|\b(?:account|organi[sz]ation|subscription|user|key)\b.{0,40}\b(?:(?:does|do)(?: not|n't) have (?:access|permission)|not (?:allowed|permitted|authori[sz]ed|active)|disabled|deactivated|suspended|banned|locked)/i,
    "auth",
  ],
  [
    /\b(?:unable|could ?n[o']t|cannot|can't|fail\w*)\b.{0,10}\b(?:connect|reach|resolve|look ?up|establish)\b|\bconnection\b.{0,30}\b(?:refused|reset|fail\w*|error|closed|lost|aborted|timed out|dropped|terminated|interrupted|broken)|\bconnection ?(?:refused|reset|error)|\b(?:closed|lost|dropped|reset|refused|broke)\b.{0,20}\bconnection\b|\b(?:peer|other side|remote end) closed|\bconnect error|\b(?:no|lost) (?:internet |network )?connection|\bnetwork\b.{0,20}\b(?:error|unreachable|down|fail\w*|unavailable)|\bwaiting for network|\b(?:ECONN[A-Z]+|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EPIPE|EHOSTUNREACH|ENETUNREACH|UND_ERR\w+)\b/i,
    "unavailable",
  ],
  [
    /\bsocket\b|\bwebsocket\b|\bproxy\b|\boffline\b|\bpremature\w*|\bterminated\b|\bssl\b|\bhandshake\b|\bgoaway\b|\brst_stream\b|\beof\b|\b(?:no|empty) (?:response|reply)\b|\binternal (?:server )?error|\bserver error\b|\bupstream\b|\bretry (?:your|the|this) request|\berror occurred while processing|\bstalled\b|\bno data\b|\bon our (?:end|side)\b|\bfetch failed|\berror sending request|\bgetaddrinfo|\blookup address|\bname resolution|\bdns\b|\btls\b|\bcertificate|\btimed? ?out\b|\btime-?out\b|\bstream\b.{0,15}\b(?:disconnected|closed|ended|interrupted|error|idle|stalled|incomplete)|\bserver[- ]side (?:issue|error)|\bserver (?:had an )?error|\bbad gateway|\b(?:service|api|server|provider|model|upstream)\b.{0,25}\b(?:unavailable|down|unreachable|maintenance)|\bunavailable\b|\bgateway\b|\bprovider returned/i,
    "unavailable",
  ],
  [
    /\bpermission denied|\bcommand not found|\bnot found in \$?path|\b(?:ENOENT|EACCES|EPERM|EROFS|ENOSPC|EMFILE|E2BIG)\b|\bno space left|\blocked by another\b|\bread-only file system|\bfailed to (?:read|open|parse|load|write)|\bnot (?:executable|installed)|\brequires (?:git|node|python|bash|docker)\b|\btoo many open files|\bexec format|\bshared (?:object|librar)|\bhooks?\b.{0,30}\b(?:fail|block|denied|error)|\bcannot (?:execute|open|write to|read (?:from|file)|find (?:module|package|file))|^\S+: (?:(?:line )?\d+: )?\S+: not found$|\binvalid (?:toml|yaml|json|config\w*|settings)|\bmissing dependenc/i,
    "environment",
  ],
  [
    /\bstructured output|\b(?:output|answer|response|result)\b.{0,60}\bschema\b|\b(?:does|did) not (?:match|satisfy) .{0,30}schema/i,
    "verification",
  ],
  [
    /\b(?:request|operation|turn|run|task|query)\b.{0,12}\b(?:aborted|cancell?ed|interrupted)|\b(?:aborted|cancell?ed|interrupted) by\b/i,
    "aborted",
  ],
  // A limit that comes back; what else is said of it may be in any language.
  [
    /(?:limit|límite|limite|上限|限制|制限|лимит).{0,80}(?:reset|again|until|available|renew|erreicht|zurück|wieder|alcanzad|restable|atteint|réinit|raggiunt|atingid|达到|達|достиг|исчерп|\d{1,2}[:h.]\d\d|\d ?[ap]m)/i,
    "usage_limit",
  ],
  [/\btry again\b.{0,15}\b(?:later|shortly|soon|moment)/i, "unavailable"],
  [/\bcore dumped|\bsegmentation fault|\bout of memory\b|\boom[- ]?kill|\bpanicked at\b/i, "infrastructure"],
];

/** Single words that hint at what an error is about, where nothing else was said. */
const hints: [RegExp, FailureCategory][] = [
  [
    /\b(?:api[- _]?keys?|credentials?|auth\w*|log(?:ging)?[- ]?in|sign(?:ing)?[- ]?in|logged out|signed out|sso|permissions?|licen[sc]e)\b/i,
    "auth",
  ],
  [/\b(?:balance|subscription|funds|allowance)\b/i, "usage_limit"],
  [/^error: .*--\w|\b(?:option|flag|argument)\b/im, "incompatible"],
  [/\b(?:config\w*|settings|director(?:y|ies)|folder|mcp|sandbox|plugin|extension|hook|executable|binary)\b/i, "environment"],
  [/\bcontext\b/i, "stuck"],
  [/\b(?:connect\w*|network|internet|server|host|endpoint|stream)\b/i, "unavailable"],
  [/\b(?:aborted|cancell?ed|interrupted|sigint|ctrl-c)\b/i, "aborted"],
];

/** What kind of failure this is. Signals are weighed in the order of FailureSignals; `now` is epoch milliseconds. */
export function classify(signals: FailureSignals, now: number): { category: FailureCategory; resetsAt?: string } {
  const message = signals.message?.slice(0, maxText);
  const stderr = complaints(signals.stderr?.slice(-maxText) ?? "");
  const category =
    structured(signals, message) ??
    written(message) ??
    written(stderr) ??
    written(brief(signals.finalText)) ??
    hinted(signals, message || brief(stderr)) ??
    "unknown";
  if (category !== "usage_limit" && category !== "rate_limit") return { category };
  const resetsAt = signals.limit?.resetsAt ?? resetTime(message ?? stderr, now);
  return resetsAt === undefined ? { category } : { category, resetsAt };
}

/** Of one text, in characters: what an error says it says early, and patterns are not run over megabytes. */
const maxText = 16_384;

/** The CLI's own word for the error, then the provider's, which may be wrapped into the message as JSON, then the HTTP status. */
function structured({ codes = [], status, limit }: FailureSignals, message: string | undefined): FailureCategory | undefined {
  const wrapped = wrappedError(message ?? "");
  const named = nameMeaning(codes) ?? nameMeaning(wrapped.names);
  const answered = status ?? wrapped.status ?? writtenStatus(message ?? "");
  const found = named ?? (answered === undefined ? undefined : byStatus(answered));
  const said = spoken(message) ?? (writtenStatus(message ?? "") === 429 ? "rate_limit" : undefined);
  switch (found) {
    // The same code stands for a plan that is used up and for too many requests at once; the limit and the words tell them apart.
    case "rate_limit":
      if (said === "overloaded") return said;
      if (said === "budget") return "usage_limit";
      return said === "usage_limit" || (limit?.resetsAt !== undefined && said !== "rate_limit") ? "usage_limit" : "rate_limit";
    // claude calls an overload a server error, and others answer it with 503.
    case "unavailable":
      return answered === 529 || said === "overloaded" ? "overloaded" : "unavailable";
    // Some providers forbid what they would answer later, or to somebody who paid, or never.
    case "auth":
      if (named !== undefined && answered !== 403) return "auth";
      if (said === "budget") return "usage_limit";
      return said === "usage_limit" || said === "rate_limit" || said === "blocker" ? said : "auth";
    default:
      return found;
  }
}

/** What a text says: by the names of errors and the status in it, else by its words. */
function written(text: string | undefined): FailureCategory | undefined {
  return text ? (structured({}, text) ?? spoken(text)) : undefined;
}

function spoken(text: string | undefined): FailureCategory | undefined {
  if (!text) return undefined;
  const words = plain(text);
  return byWords.find(([pattern]) => pattern.test(words))?.[1];
}

function plain(text: string): string {
  return unescaped(text).replace(/[\u2018\u2019]/g, "'");
}

/** A request that the provider understood to be wrong may be about anything. */
function hinted({ status }: FailureSignals, text: string | undefined): FailureCategory | undefined {
  if (!text || (status ?? writtenStatus(text)) === 400) return undefined;
  return hints.find(([pattern]) => pattern.test(text))?.[1];
}

function nameMeaning(names: readonly (string | null | undefined)[]): FailureCategory | undefined {
  for (const name of names) {
    if (!name) continue;
    const code = snakeCase(name);
    const meaning = (Object.hasOwn(byCode, code) ? byCode[code] : undefined) ?? byCodeWord.find(([pattern]) => pattern.test(code))?.[1];
    if (meaning !== undefined) return meaning;
  }
  return undefined;
}

/** `RateLimitError`, `RESOURCE_EXHAUSTED` and `rate-limit` as `rate_limit_error`, `resource_exhausted` and `rate_limit`. */
function snakeCase(name: string): string {
  return name
    .replace(/([a-z\d])([A-Z])/g, "$1_$2")
    .replace(/[\s.:-]+/g, "_")
    .toLowerCase();
}

/**
 * The signals in an error that a structured stream gives as an object: what it is called, its status and its message, however
 * deep they lie.
 */
export function signalsOf(error: unknown): FailureSignals & { codes: string[] } {
  const codes: string[] = [];
  const messages: string[] = [];
  let status: number | undefined;
  const visit = (value: unknown, depth: number): void => {
    if (typeof value !== "object" || value === null || depth > 5) return;
    for (const [key, field] of Object.entries(value)) {
      if (typeof field === "object") visit(field, depth + 1);
      else if (/^(?:(?:http_?)?status(?:_?code)?|code)$/i.test(key) && typeof field === "number" && field >= 400 && field < 600)
        status ??= field;
      else if (typeof field !== "string") continue;
      else if (/^(?:type|code|name|kind|reason|status|error_?(?:type|code))$/i.test(key)) codes.push(field);
      else if (/^(?:message|error|details?|cause|(?:response_?)?body|error_?(?:message|description))$/i.test(key)) messages.push(field);
    }
  };
  if (typeof error === "string") messages.push(error);
  visit(error, 0);
  const message = messages.join("\n");
  return { codes, ...(status === undefined ? {} : { status }), ...(message === "" ? {} : { message }) };
}

/**
 * Names of errors and the status out of the JSON, or what Node prints of an object, that a message wraps around an error; as often
 * as it likes, whole or cut off. Only fields that providers name their errors in count.
 */
function wrappedError(text: string): { names: string[]; status?: number } {
  const fields = unescaped(text).matchAll(
    /["'{(,\s](?<!exit[ _])(?:type|code|status|status_?code|http_?status|error_?type|error_?code|name|reason|kind|error)["']?\s*:\s*(?:["']([A-Za-z][A-Za-z0-9_.-]{2,60})(?=["']|$)|["']?([45]\d\d)\b(?!\.\d))/gi,
  );
  const names: string[] = [];
  let status: number | undefined;
  for (const [, name, number] of fields) {
    if (name !== undefined) names.push(name);
    else status ??= Number(number);
  }
  // A name by itself, such as `context_length_exceeded` or `ThrottlingException`.
  for (const [name] of text.matchAll(
    /\b[a-z]+(?:_[a-z]+)*_(?:error|exceeded|reached|exhausted|expired|denied|required|overloaded|unavailable|too_long|too_large|not_found)\b/gi,
  ))
    names.push(name);
  for (const [name] of text.matchAll(/\b[A-Z][a-z]+(?:[A-Z][a-z]+)*(?:Error|Exception)\b/g)) names.push(name);
  return { names, ...(status === undefined ? {} : { status }) };
}

/** Without the backslashes of JSON that was put into JSON. */
function unescaped(text: string): string {
  return text.replace(/\\+(["'nrt/\\])/g, (_, escaped: string) => (/[nrt]/.test(escaped) ? " " : escaped));
}

/** An HTTP status as people write it: `401 Unauthorized`, `API Error: 529`, `status 503`, `(429)`. Exit codes and ports are none. */
function writtenStatus(text: string): number | undefined {
  const found =
    /(?:^|[\n:;(] ?)([45]\d\d)(?:$|[):]| ?\{| [A-Z][a-z]+)/.exec(text) ??
    /\b([45]\d\d) (?:unauthori|forbidden|not found|too many|internal|bad |service|gateway|payment|request|overloaded)/i.exec(text) ??
    /\b\w*error: .{0,60}(?<!exit|code|line|port)[ (]([45]\d\d)["').]*$/im.exec(text) ??
    /(?<!exit |exited with )\b(?:status|http(?:\/[\d.]+)?|response|error)(?: ?code)?[ :=(]{1,3}(?:http )?([45]\d\d)\b/i.exec(text);
  return found ? Number(found[1]) : undefined;
}

/** The lines of stderr that may say why: no warnings, progress notes or stack frames, which sound like trouble in every run. */
export function complaints(stderr: string): string {
  const lines = stripVTControlCharacters(stderr)
    .split("\n")
    .map((line) => line.trim());
  return lines
    .filter(
      (line) =>
        line !== "" &&
        !/^(?:\W*(?:(?:warn(?:ing)?|info|debug|trace)\b|(?:note|hint|tip|usage):)|at \S|\[STARTUP\]|Reading (?:additional input|prompt))/i.test(
          line,
        ),
    )
    .join("\n");
}

/** An agent that could not work says so in a line or two; a long answer may well speak of rate limits for its own reasons. */
function brief(text: string | undefined): string | undefined {
  return text !== undefined && text.length <= 300 ? text : undefined;
}

/** An epoch time in seconds (or milliseconds), or a written RFC 3339 one, as RFC 3339; undefined when it is no sensible time. */
export function epochToInstant(epoch: unknown): string | undefined {
  if (typeof epoch === "string") return epochToInstant(/^\d+(\.\d+)?$/.test(epoch) ? Number(epoch) : Date.parse(epoch));
  if (typeof epoch !== "number" || !Number.isFinite(epoch)) return undefined;
  const ms = epoch > 1e11 ? epoch : epoch * 1000;
  return ms > 1e12 && ms < 1e13 ? new Date(ms).toISOString() : undefined;
}

/**
 * When a limit ends, read out of a message for people; undefined when it does not say. Times without a zone are this machine's.
 * The words around a time may be in any language; what counts is a date, a span or a time of day, in this order.
 */
export function resetTime(text: string, now: number): string | undefined {
  const epoch = /\|(\d{10,13})\b/.exec(text) ?? /\breset\w*["']?\s*[:=]\s*["']?(\d{10,13})\b/i.exec(text);
  if (epoch) return epochToInstant(Number(epoch[1]));
  const written = /\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d)\b)?/.exec(text);
  if (written) return epochToInstant(written[0]);
  return spanEnd(text, now) ?? dateIn(text, now) ?? timeOfDayIn(text, now);
}

const span =
  /(\d+(?:[.,]\d+)?) ?(ms|milli\w*|s(?:ec\w*|ek\w*|eg\w*)?|m(?:in\w*)?|h(?:(?:ou)?rs?|eures?|oras?)?|stunden?|std|d(?:ays?|[ií]as?)?|tage?n?|jours?)\b/i;
const spans = new RegExp(
  `(?:\\b(?:in|after|for|wait|within|dans|après|nach|en|tra|dentro de|через)|後) (?:about |ca\\. )?(?:${span.source}(?:,? (?:and |und |et |y )?)?)+`,
  "i",
);

function spanEnd(text: string, now: number): string | undefined {
  const header = /\bretry[- ]after["']?[ :=]{1,3}["']?(\d+(?:\.\d+)?)\b(?! ?(?:ms|m|h|d))/i.exec(text);
  if (header) return epochToInstant(now + Number(header[1]) * 1000);
  const found = spans.exec(text.replace(/(\d[smhd])(?=\d)/gi, "$1 "));
  if (!found) return undefined;
  const parts = [...found[0].matchAll(new RegExp(span.source, "gi"))];
  return epochToInstant(now + parts.reduce((sum, [, count = "0", unit = "s"]) => sum + Number(count.replace(",", ".")) * unitMs(unit), 0));
}

function unitMs(unit: string): number {
  const word = unit.toLowerCase();
  if (word === "ms" || word.startsWith("milli")) return 1;
  if (/^(st|h)/.test(word)) return 3_600_000;
  if (/^(d|t|j)/.test(word)) return 86_400_000;
  return word.startsWith("m") ? 60_000 : 1000;
}

/** The first letters of the months in the languages that CLIs speak. */
const months = [
  "jan|ene|gen",
  "feb|fév|fev",
  "mar|mär|mrz",
  "apr|abr|avr",
  "may|mai|mag",
  "jun|juin|giu",
  "jul|juil|lug",
  "aug|ago|aoû",
  "sep|set",
  "oct|okt|ott|out",
  "nov",
  "dec|dez|dic|déc",
].map((names) => new RegExp(`^(?:${names})`, "i"));

const clock = "(\\d{1,2})(?:[:h](\\d{2}))?(?::\\d{2})? ?(?:([ap])\\.?m\\b\\.?)?";
const zone = "(?: ?\\(([A-Za-z_/+-]+)\\)| ?\\b(UTC|GMT|[A-Z][a-z]+/[A-Z][A-Za-z_]+)\\b)?";
const dates = [
  new RegExp(`\\b(?<month>\\p{L}{3,10})\\.? (?<day>\\d{1,2})(?:st|nd|rd|th)?(?:,? (?<year>\\d{4}))?,? (?:at )?${clock}${zone}`, "iu"),
  new RegExp(
    `\\b(?<day>\\d{1,2})\\.?(?: de)? (?<month>\\p{L}{3,10})\\.?(?:(?: de)? (?<year>\\d{4}))?,? (?:\\p{L}{1,3} ){0,2}${clock}${zone}`,
    "iu",
  ),
];

function dateIn(text: string, now: number): string | undefined {
  for (const pattern of dates) {
    const found = pattern.exec(text);
    const { month = "", day, year } = found?.groups ?? {};
    const index = months.findIndex((names) => names.test(month));
    if (!found || index === -1) continue;
    const [hour, minute, half, inBrackets, bare] = found.slice(-5);
    if (hour === undefined || (minute === undefined && half === undefined)) continue;
    const at = `${hourOf(hour, half)}:${minute ?? "00"}`;
    const isUtc = /^(utc|gmt)$/i.test(inBrackets ?? bare ?? "");
    return epochToInstant(`${englishMonths[index]} ${day}, ${year ?? new Date(now).getFullYear()} ${at}${isUtc ? " UTC" : ""}`);
  }
  return undefined;
}

const englishMonths = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** `11:29pm (UTC)`, `2am`, `23:29`, `15h`, `15 Uhr`: the last one of a text, as what comes last is when it goes on. */
function timeOfDayIn(text: string, now: number): string | undefined {
  const found = [
    ...text.matchAll(new RegExp(`(?<![\\d.:/#-])${clock}(h\\b(?![ -]?(?:limit|session|usage|window))| ?Uhr\\b)?${zone}(?![\\d:])`, "gi")),
  ];
  const last = found.findLast(
    ([, hour, minute, half, suffix]) =>
      Number(hour) < 24 && Number(minute ?? 0) < 60 && (half !== undefined || minute !== undefined || suffix !== undefined),
  );
  if (!last) return undefined;
  const [, hour = "", minute, half, , inBrackets, bare] = last;
  return nextTimeOfDay(hourOf(hour, half), Number(minute ?? 0), inBrackets ?? bare, now);
}

function hourOf(hour: string, half: string | undefined): number {
  return half === undefined ? Number(hour) : (Number(hour) % 12) + (half.toLowerCase() === "p" ? 12 : 0);
}

const justOverMinutes = 5;

/** The next moment at which clocks in `zone` (this machine's without one) show hour:minute, or the one just past. */
function nextTimeOfDay(hour: number, minute: number, zone: string | undefined, now: number): string | undefined {
  let shown: string;
  try {
    shown = new Intl.DateTimeFormat("en-GB", {
      hour: "2-digit",
      minute: "2-digit",
      hourCycle: "h23",
      ...(zone ? { timeZone: zone } : {}),
    }).format(now);
  } catch {
    return undefined; // a zone this machine does not know
  }
  const [nowHour = 0, nowMinute = 0] = shown.split(":").map(Number);
  const minutesAhead = (hour * 60 + minute - (nowHour * 60 + nowMinute) + 1440) % 1440;
  const wholeMinute = Math.floor(now / 60_000) * 60_000;
  // A limit that ends within this minute, or did while the message was on its way, is none that ends tomorrow.
  const isJustOver = minutesAhead > 1440 - justOverMinutes;
  return epochToInstant(wholeMinute + (isJustOver ? minutesAhead - 1440 : minutesAhead) * 60_000);
}
