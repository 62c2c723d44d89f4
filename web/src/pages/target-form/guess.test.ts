import { describe, expect, it } from "vitest";
import { guessed } from "./guess";
import { nameFor, settled, timingRules } from "./rules";

describe("what somebody means who pastes", () => {
  it.each([
    ["https://shop.example", "http", "shop.example"],
    ["  https://www.shop.example/health/ ", "http", "shop.example/health"],
    ["shop.example", "http", "shop.example"],
    ["shop.example/health", "http", "shop.example/health"],
    ["localhost:5432", "tcp", "localhost:5432"],
    ["tcp://db.example:5432", "tcp", "db.example:5432"],
    ["[::1]:443", "tcp", "::1:443"],
    ["10.0.3.7", "icmp", "10.0.3.7"],
    ["2001:db8::1", "icmp", "2001:db8::1"],
    ["ping://gate", "icmp", "gate"],
    ["dns://shop.example", "dns", "shop.example"],
    ["tls://shop.example:8443", "tls", "shop.example"],
  ])("%s is %s, called %s", (text, kind, name) => expect(guessed(text)).toMatchObject({ kind, name }));

  it.each(["", "hello", "two words", "db:0", "db:70000", "javascript:alert(1)", "http://"])(
    "%j names nothing",
    (text) => expect(guessed(text)).toBeNull(),
  );

  it("keeps host and port apart", () => {
    expect(guessed("db.example:5432")?.fields).toEqual({ host: "db.example", port: 5432 });
    expect(guessed("[::1]:443")?.fields).toEqual({ host: "::1", port: 443 });
  });
});

it("names a target nobody has named", () => {
  const from = (values: Record<string, unknown>) => (name: string) => values[name];
  expect(nameFor("http", from({ url: "https://shop.example/" }))).toBe("shop.example");
  expect(nameFor("tcp", from({ host: "db", port: 5432 }))).toBe("db:5432");
  expect(nameFor("heartbeat", from({}))).toBe("job");
  expect(nameFor("icmp", from({}))).toBe("");
});

it("completes an address before it is sent", () => {
  expect(settled("http", { url: "shop.example" })).toEqual({ url: "https://shop.example" });
  expect(settled("http", { url: " https://shop.example/a " })).toEqual({ url: "https://shop.example/a" });
  expect(settled("tcp", { host: "db" })).toEqual({ host: "db" });
});

it("refuses a timeout longer than the interval, where it was not only a default", () => {
  expect(timingRules({ interval_s: 20, timeout_s: 30 })).toHaveProperty("timeout_s");
  expect(timingRules({ interval_s: 5, timeout_s: 10 })).toEqual({});
  expect(timingRules({ interval_s: 60, timeout_s: 60 })).toEqual({});
});
