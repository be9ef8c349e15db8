/** The throw-away project of `orchestrator demo`: its files, and a plan of four tickets, two of which depend on others. */

export const demoFiles: Record<string, string> = {
  "README.md": "# Words\n\nA small library about words, made by `orchestrator demo`.\n",
  "package.json": `${JSON.stringify({ name: "words", version: "1.0.0", private: true, type: "module", scripts: { test: "node --test" } }, null, 2)}\n`,
  "src/reverse.js": 'export function reverse(text) {\n  return [...text].reverse().join("");\n}\n',
  "test/reverse.test.js": `import assert from "node:assert/strict";
import { test } from "node:test";
import { reverse } from "../src/reverse.js";

test("reverses a word", () => {
  assert.equal(reverse("abc"), "cba");
});
`,
};

/** One ticket, and what the scripted agent does for it: the files of its first attempt, and those a review asks for. */
export interface DemoTicket {
  ticketId: string;
  title: string;
  description: string;
  acceptanceCriteria: string[];
  blockedBy: string[];
  files: Record<string, string>;
  /** Left out at first, so that the review fails once and the loop back can be seen. */
  forgotten: Record<string, string>;
}

const greetingTest = `import assert from "node:assert/strict";
import { test } from "node:test";
import { greet } from "../src/greet.js";

test("greets by name", () => {
  assert.equal(greet("Ada"), "Hello, Ada!");
});
`;

const languagesTest = `import assert from "node:assert/strict";
import { test } from "node:test";
import { greet } from "../src/greet.js";

test("greets in German and falls back to English", () => {
  assert.equal(greet("Ada", "de"), "Hallo, Ada!");
  assert.equal(greet("Ada", "xx"), "Hello, Ada!");
});
`;

const countTest = `import assert from "node:assert/strict";
import { test } from "node:test";
import { countWords } from "../src/count.js";

test("counts words", () => {
  assert.equal(countWords("one  two three"), 3);
  assert.equal(countWords(""), 0);
});
`;

const cliTest = `import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

test("greets and counts", () => {
  const output = execFileSync(process.execPath, ["src/cli.js", "Ada", "one two"], { encoding: "utf8" });
  assert.equal(output, "Hello, Ada! You said 2 words.\\n");
});
`;

export const demoTickets: DemoTicket[] = [
  {
    ticketId: "GREET-1",
    title: "Greet somebody by name",
    description: 'Add src/greet.js with an exported function greet(name) that returns "Hello, <name>!", and a test in test/greet.test.js.',
    acceptanceCriteria: ['greet("Ada") returns "Hello, Ada!"', "node --test passes"],
    blockedBy: [],
    files: { "src/greet.js": 'export function greet(name) {\n  return "Hello, " + name + "!";\n}\n', "test/greet.test.js": greetingTest },
    forgotten: {},
  },
  {
    ticketId: "GREET-2",
    title: "Greet in other languages",
    description:
      "Give greet in src/greet.js a second parameter, a language code: en (default), de (Hallo) and fr (Bonjour). An unknown code means English. Test it in test/languages.test.js.",
    acceptanceCriteria: ['greet("Ada", "de") returns "Hallo, Ada!"', "an unknown language falls back to English", "there is a test"],
    blockedBy: ["GREET-1"],
    files: {
      "src/greet.js":
        'const hello = new Map([["en", "Hello"], ["de", "Hallo"], ["fr", "Bonjour"]]);\n\nexport function greet(name, language = "en") {\n  return (hello.get(language) ?? hello.get("en")) + ", " + name + "!";\n}\n',
    },
    forgotten: { "test/languages.test.js": languagesTest },
  },
  {
    ticketId: "COUNT-1",
    title: "Count the words of a text",
    description:
      "Add src/count.js with an exported function countWords(text), and a test in test/count.test.js. An empty text has 0 words.",
    acceptanceCriteria: ['countWords("one  two three") returns 3', 'countWords("") returns 0'],
    blockedBy: [],
    files: {
      "src/count.js": 'export function countWords(text) {\n  return text.split(/\\s+/).filter((word) => word !== "").length;\n}\n',
      "test/count.test.js": countTest,
    },
    forgotten: {},
  },
  {
    ticketId: "CLI-1",
    title: "A command line for both",
    description:
      'Add src/cli.js: `node src/cli.js <name> <text>` prints greet(name), a space, and "You said <n> words." with n from countWords. Test it in test/cli.test.js.',
    acceptanceCriteria: ['node src/cli.js Ada "one two" prints "Hello, Ada! You said 2 words."'],
    blockedBy: ["GREET-2", "COUNT-1"],
    files: {
      "src/cli.js":
        'import { countWords } from "./count.js";\nimport { greet } from "./greet.js";\n\nconst [name = "you", text = ""] = process.argv.slice(2);\nconsole.log(greet(name), "You said " + countWords(text) + " words.");\n',
      "test/cli.test.js": cliTest,
    },
    forgotten: {},
  },
];
