import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

/** Where `npm run dev` finds the API: a `tocsin up` on this machine. */
const api = process.env.TOCSIN_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [react()],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  build: {
    target: "es2022",
    sourcemap: false,
    // The Content-Security-Policy allows our own files only: nothing may be inlined as a data: address.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: {
        index: fileURLToPath(new URL("./index.html", import.meta.url)),
        // What a relay shows to everybody: a page of its own, without what only those who sign in need.
        edge: fileURLToPath(new URL("./edge.html", import.meta.url)),
      },
    },
  },
  server: {
    proxy: {
      "/v1": api,
      "/ping": api,
      "/ws": { target: api, ws: true },
    },
  },
  test: {
    include: ["src/**/*.test.{ts,tsx}"],
  },
});
