// How the client is built. Its output, `dist`, is embedded into the server's binary.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const locales = fileURLToPath(new URL("../locales", import.meta.url));
/** The server that `npm run dev` talks to. */
const backend = process.env.MOZNODS_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  resolve: { alias: { "@locales": locales } },
  build: {
    target: "es2022",
    // The server's Content-Security-Policy allows files, not inlined copies of them.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  json: { namedExports: true },
  server: {
    fs: { allow: [".", locales] },
    proxy: { "/api": backend, "/ws": { target: backend, ws: true } },
  },
  test: { include: ["src/**/*.test.ts"] },
});
