// Fails when src/api/schema.d.ts is not what openapi.json says. `npm run api` writes it.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const web = fileURLToPath(new URL("..", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "tocsin-schema-"));
const fresh = join(scratch, "schema.d.ts");
const openapiTypescript = join(web, "node_modules", ".bin", "openapi-typescript");

execFileSync(openapiTypescript, ["openapi.json", "--output", fresh, "--alphabetize"], {
  cwd: web,
  stdio: "pipe",
});
const same = readFileSync(fresh, "utf8") === readFileSync(join(web, "src/api/schema.d.ts"), "utf8");
rmSync(scratch, { recursive: true });

if (!same) {
  console.error("src/api/schema.d.ts is older than openapi.json. Run: npm run api");
  process.exit(1);
}
