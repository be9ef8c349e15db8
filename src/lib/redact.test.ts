import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRedactor, secretValues } from "./redact.ts";

// Put together at run time, so that no scanner takes this file for a leak.
const samples = [
  `ghp_${"a1".repeat(18)}`,
  `github_pat_${"a1".repeat(20)}`,
  `sk-ant-api03-${"Zz9_".repeat(8)}`,
  `sk-proj-${"Zz9".repeat(16)}`,
  `AKIA${"ABCD1234".repeat(2)}`,
  `xoxb-${"12345-".repeat(4)}abc`,
  `lin_api_${"x9".repeat(16)}`,
  `eyJ${"hbGci".repeat(3)}.eyJ${"zdWIi".repeat(3)}.${"s1g".repeat(5)}`,
];

describe("secretValues", () => {
  it("P12 takes the values whose names speak of secrets, longest first", () => {
    const values = secretValues({
      GH_TOKEN: "token-value",
      ANTHROPIC_API_KEY: "a much longer key value",
      DB_PASSWORD: "short",
      PATH: "/usr/bin:/bin",
      GIT_AUTHOR_NAME: "A Person Of Note",
      MAX_OUTPUT_TOKENS: "32000000",
    });
    expect(values).toEqual(["a%20much%20longer%20key%20value", "a much longer key value", "token-value"]);
  });

  it("takes a value of several lines line by line, and as it stands in JSON", () => {
    expect(secretValues({ APP_KEY: 'first-line\nsecond"line\n' })).toEqual(["second%22line", 'second\\"line', 'second"line', "first-line"]);
  });
});

describe("createRedactor", () => {
  it.each(samples)("P12 replaces %s", (secret) => {
    const redact = createRedactor([]);
    expect(redact(`before ${secret} after`)).toBe("before [redacted] after");
    expect(JSON.parse(redact(JSON.stringify({ text: `x ${secret}` })))).toEqual({ text: "x [redacted]" });
  });

  it("P12 replaces user and password in a URL", () => {
    expect(createRedactor([])("fatal: https://me:pa55@example.com/x.git not found")).toBe(
      "fatal: https://[redacted]@example.com/x.git not found",
    );
  });

  it("P12 replaces a private key over several lines, and nothing after it", () => {
    const redact = createRedactor([]);
    const lines = ["key:", "-----BEGIN RSA PRIVATE KEY-----", "MIIEabc+/=", "MIIEdef", "-----END RSA PRIVATE KEY-----", "done"];
    expect(lines.map(redact)).toEqual(["key:", "[redacted]", "[redacted]", "[redacted]", "[redacted]", "done"]);
  });

  it("goes on with ordinary text when a private key never ends", () => {
    const redact = createRedactor([]);
    expect(["-----BEGIN PRIVATE KEY-----", 'so "it" goes', "on"].map(redact)).toEqual(["[redacted]", 'so "it" goes', "on"]);
  });

  it("keeps a JSON line with a private key parsable", () => {
    const line = JSON.stringify({ a: "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n", b: 1 });
    expect(JSON.parse(createRedactor([])(line))).toEqual({ a: "[redacted]", b: 1 });
  });

  it("leaves ordinary text alone", () => {
    const text = "see https://example.com/a?b=c@d, sk-learn, ghost_writer, task-list and xoxo";
    expect(createRedactor([])(text)).toBe(text);
  });

  it("P12 leaves no trace of an exact value, whatever stands around it", () => {
    const secret = fc.string({ minLength: 8, maxLength: 40 }).filter((text) => text.trim().length >= 8 && !/[\r\n]/.test(text));
    fc.assert(
      fc.property(secret, fc.string(), fc.string(), (value, before, after) => {
        fc.pre(!"[redacted]".includes(value) && !`${before}[redacted]${after}`.includes(value));
        const redact = createRedactor(secretValues({ MY_TOKEN: value }));
        expect(redact(`${before}${value}${after}`)).not.toContain(value);
        expect(redact(JSON.stringify({ text: `${before}${value}` }))).not.toContain(JSON.stringify(value).slice(1, -1));
      }),
    );
  });
});
