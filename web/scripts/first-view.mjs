// What a first visit downloads, compressed: everything index.html names plus the page it lands on. Fails over the budget.
import { readFileSync, readdirSync } from "node:fs";
import { gzipSync } from "node:zlib";

const BUDGET_KB = 300;
const dist = new URL("../dist/", import.meta.url);
const gzipped = (path) => gzipSync(readFileSync(new URL(path, dist))).length;

const page = readFileSync(new URL("index.html", dist), "utf8");
const named = [...page.matchAll(/(?:src|href)="\/([^"]+)"/g)].map((match) => match[1]);
const landing = readdirSync(new URL("assets/", dist))
  .filter((name) => /^(Overview|Shell|SignIn)/.test(name))
  .map((name) => `assets/${name}`);
const files = ["index.html", ...new Set([...named, ...landing])];

let total = 0;
for (const file of files) {
  const size = gzipped(file);
  total += size;
  console.log(`${(size / 1000).toFixed(1).padStart(7)} kB  ${file}`);
}
console.log(`${(total / 1000).toFixed(1).padStart(7)} kB  first view, gzip (budget ${BUDGET_KB} kB)`);
if (total > BUDGET_KB * 1000) {
  console.error("The first view is over its budget: split a page off, or drop a dependency.");
  process.exit(1);
}
