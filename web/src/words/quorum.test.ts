import { expect, test } from "vitest";
import { quorumWords } from "./quorum";

test("a quorum is said in words", () => {
  expect(quorumWords("majority")).toBe("down when more than half find it down");
  expect(quorumWords("all")).toBe("down when all of them find it down");
  expect(quorumWords(3)).toBe("down when 3 of them find it down");
  expect(quorumWords(1)).toBe(quorumWords("any"));
});
