// Hands the built app to the Python package, which serves it: web/dist -> src/tocsin/web, each text also compressed.
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";

const built = fileURLToPath(new URL("../dist", import.meta.url));
const served = fileURLToPath(new URL("../../src/tocsin/web", import.meta.url));

rmSync(served, { recursive: true, force: true });
cpSync(built, served, { recursive: true });

for (const name of readdirSync(served, { recursive: true })) {
  if (!/\.(js|css|html|svg)$/.test(name)) continue;
  const path = join(served, name);
  const text = readFileSync(path);
  writeFileSync(`${path}.gz`, gzipSync(text, { level: 9 }));
  writeFileSync(`${path}.br`, brotliCompressSync(text));
}
console.log(`handed over to ${served}`);
