import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseVerdict, type VerdictFormat } from "./verdict.ts";

const empty = { summary: "", findings: [], steps: [], unverified: [] };
const verdictOf = (text: string, format?: VerdictFormat) => {
  const parsed = parseVerdict(text, format);
  return "verdict" in parsed ? parsed.verdict.verdict : Object.keys(parsed)[0];
};

describe("json", () => {
  it("reads a whole object with its findings, in any of the usual spellings", () => {
    const findings = [{ severity: "major", message: "leak", file: "a.ts", line: "12" }, "typo", { severity: "praise", title: "nice" }];
    expect(parseVerdict(JSON.stringify({ verdict: "Approved with comments", summary: "ok", findings, unverified: ["x"] }), "json")).toEqual(
      {
        verdict: {
          verdict: "pass_with_comments",
          summary: "ok",
          findings: [
            { severity: "important", message: "leak", file: "a.ts", line: 12 },
            { severity: "important", message: "typo" },
            { severity: "praise", message: "nice" },
          ],
          steps: [],
          unverified: ["x"],
        },
      },
    );
  });

  it.each([
    ["the last fenced block wins", '```json\n{"verdict":"pass"}\n```\nno:\n```\n{"verdict":"FAIL"}\n```', "fail"],
    ["an object at the end of the text", 'So:\n{\n "verdict": "pass"\n}', "pass"],
    ["passed: boolean", '{"passed": false}', "fail"],
    ["a blocking finding outweighs pass", '{"verdict":"pass","findings":[{"severity":"blocking","message":"m"}]}', "fail"],
    ["a failed step outweighs pass", '{"verdict":"pass","steps":[{"step":1,"pass":false}]}', "fail"],
    ["an unknown word", '{"verdict":"maybe"}', "missing"],
    ["no object", "PASS", "missing"],
    ["an inherited name is no verdict", '{"verdict":"constructor"}', "missing"],
  ])("%s", (_, text, verdict) => {
    expect(verdictOf(text, "json")).toBe(verdict);
  });
});

describe("passfail", () => {
  it("the list after FAIL becomes findings", () => {
    expect(parseVerdict("**FAIL**: two problems\n\n1. `src/a.ts:12` leaks\n2. no test\n", "passfail")).toEqual({
      verdict: {
        ...empty,
        verdict: "fail",
        summary: "two problems",
        findings: [
          { severity: "blocking", message: "`src/a.ts:12` leaks", file: "src/a.ts", line: 12 },
          { severity: "blocking", message: "no test" },
        ],
      },
    });
  });

  it.each([
    ["PASS", "pass"],
    ["I looked at it.\n\nVerdict: PASS", "pass"],
    ["- a problem\nFAIL", "fail"],
    ["PASS or FAIL, who knows", "missing"],
    ["PASSWORD missing", "missing"],
    ["Pass the salt", "missing"],
    ["PASS\n\nFAIL", "missing"],
    ["", "missing"],
  ])("%j", (text, verdict) => {
    expect(verdictOf(text, "passfail")).toBe(verdict);
  });
});

describe("steps", () => {
  it("one failed step fails all", () => {
    expect(parseVerdict("- STEP 1: PASS\n**STEP 2**: FAIL - no button\nSTEP 2: FAIL no button at all", "steps")).toEqual({
      verdict: {
        ...empty,
        verdict: "fail",
        summary: "1 of 2 steps passed",
        findings: [{ severity: "blocking", message: "no button at all", step: 2 }],
        steps: [
          { step: 1, pass: true, note: "" },
          { step: 2, pass: false, note: "no button at all" },
        ],
      },
    });
  });

  it("needs a step", () => {
    expect(verdictOf("PASS", "steps")).toBe("missing");
    expect(verdictOf("STEP 1: PASS", "steps")).toBe("pass");
  });
});

describe("no format", () => {
  it.each([
    ["FAIL: tests are red\n- a", "fail"],
    ["My review:\n\n**FAIL**\n\n1. broken", "fail"],
    ["done\nPASS", "pass"],
    ['{"verdict":"fail"}', "fail"],
    ["PASS\nFAIL", "none"],
    ["PASS: all good", "none"],
    ["Implemented it. All tests PASS", "none"],
    ["```\nFAIL\n```\ndone", "none"],
    ["FAILED to reproduce, so I added a test", "none"],
    ['{"verdict": 5}', "none"],
    ["", "none"],
  ])("%j", (text, verdict) => {
    expect(verdictOf(text)).toBe(verdict);
  });
});

describe("any text", () => {
  const formats = ["json", "passfail", "steps", undefined] as const;
  const pieces = fc.array(
    fc.oneof(
      fc.string(),
      fc.json(),
      fc.constantFrom("PASS", "FAIL", "STEP 1: PASS", "```json", "```", "{", '{"verdict":"pass"}', "- a.ts:1"),
    ),
  );

  it("P8 never throws, and never says pass beside a blocking finding or a failed step", () => {
    fc.assert(
      fc.property(pieces, fc.constantFrom(...formats), (lines, format) => {
        const parsed = parseVerdict(lines.join("\n"), format);
        if (!("verdict" in parsed) || parsed.verdict.verdict === "fail") return;
        expect(parsed.verdict.findings.filter((finding) => finding.severity === "blocking")).toEqual([]);
        expect(parsed.verdict.steps.filter((step) => !step.pass)).toEqual([]);
      }),
    );
  });

  it("takes no time on hostile text", () => {
    for (const text of [
      "{\n".repeat(50_000),
      "`".repeat(100_000),
      `FAIL ${"a.".repeat(100_000)}`,
      " ".repeat(200_000),
      `${"*_ ".repeat(60_000)}x`,
    ]) {
      const start = performance.now();
      for (const format of formats) parseVerdict(text, format);
      expect(performance.now() - start).toBeLessThan(2000);
    }
  });
});
