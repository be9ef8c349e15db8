import { expect, it } from "vitest";
import { outsideScope } from "./scope.ts";

it("allows what `allow` names and nothing that `deny` names", () => {
  expect(
    outsideScope({ allow: ["src/**", "*.md"], deny: ["src/legal/**"] }, ["src/a.ts", "README.md", "docs/x.md", "src/legal/b.ts"]),
  ).toEqual(["docs/x.md", "src/legal/b.ts"]);
  expect(outsideScope({}, ["a"])).toEqual([]);
  expect(outsideScope({ allow: [] }, ["a"])).toEqual(["a"]);
});

it("P8 overlooks no dotfile", () => {
  const files = [".env", "src/.env", ".github/workflows/ci.yml", "a/.hidden/secrets/x"];
  expect(outsideScope({ allow: ["**"] }, files)).toEqual([]);
  expect(outsideScope({ deny: ["**/.env", "**/*.yml", "**/secrets/**"] }, files)).toEqual(files);
  expect(outsideScope({ deny: ["*"] }, [".env"])).toEqual([".env"]);
});

it.each(["src", "src/", "./src/**", "src/**"])("takes %s for the folder and all in it", (glob) => {
  expect(outsideScope({ allow: [glob] }, ["src/a/b.ts", "src2/a.ts"])).toEqual(["src2/a.ts"]);
});

it("takes brackets of a file's name as they stand", () => {
  expect(outsideScope({ allow: ["pages/**"] }, ["pages/[id].ts"])).toEqual([]);
});
