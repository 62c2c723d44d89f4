import { expect, it } from "vitest";
import { exampleDeployment } from "@/api/examples";
import { deploymentWords, tally } from "./deployments";

const one = exampleDeployment({ id: "1" });
const failed = exampleDeployment({ id: "2", service: "search", version: "", by: "", status: "failed" });

it("names one with all there is to say", () => {
  expect(deploymentWords([one])).toBe("checkout-api v1.42.0 · production · by ada");
  expect(deploymentWords([failed])).toBe("search · failed · production");
});

it("names some of several, first what failed", () => {
  expect(deploymentWords([one, failed])).toBe(
    "2 deployments, 1 failed: search (failed), checkout-api v1.42.0",
  );
  expect(deploymentWords([one, one, one, one, one])).toMatch(/v1\.42\.0 and 2 more$/);
  expect(deploymentWords([])).toBe("");
});

it("counts them", () => {
  expect(tally([one])).toBe("1 deployment");
  expect(tally([one, failed])).toBe("2 deployments, 1 failed");
});
