import { expect, it } from "vitest";
import { aggregatorAt, command, container, isAggregator, unit } from "./install";

const install = { aggregator: "status.example:4317", key: "tcs_abc" };

it("is the one line that adds a machine", () =>
  expect(command(install)).toBe("tocsin collector --aggregator status.example:4317 --key tcs_abc"));

it("keeps the key out of the unit, which anybody on the machine may read", () => {
  const [, secrets, service] = unit(install).split("<<'END'");
  expect(secrets).toContain("TOCSIN_AGGREGATOR_URL=grpc://status.example:4317");
  expect(secrets).toContain(install.key);
  expect(service).toContain("EnvironmentFile=/etc/tocsin-collector.env");
  expect(service).not.toContain(install.key);
});

it("names the same aggregator in a container", () => {
  expect(container(install)).toContain("-e TOCSIN_AGGREGATOR_URL=grpc://status.example:4317 ");
  expect(container({ ...install, aggregator: "grpcs://status.example:443" })).toContain(
    "TOCSIN_AGGREGATOR_URL=grpcs://status.example:443 ",
  );
});

it.each([
  ["status.example:4317", true],
  ["10.0.0.1:4317", true],
  ["[2001:db8::1]:4317", true],
  ["grpcs://status.example:443", true],
  ["status.example", false],
  ["a b:4317", false],
  ["x;rm -rf /:1", false],
  ["$(id):4317", false],
  ["", false],
])("%s is an aggregator: %s", (text, is) => expect(isAggregator(text)).toBe(is));

it("is where the page came from", () => {
  expect(aggregatorAt("10.1.2.3", { port: 4317, tls: false })).toBe("10.1.2.3:4317");
  expect(aggregatorAt("status.example", { port: 443, tls: true })).toBe("grpcs://status.example:443");
});
