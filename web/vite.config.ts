// How the client is built. Its output, `dist`, is embedded into the server's binary.
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const locales = fileURLToPath(new URL("../locales", import.meta.url));
/** The server that `npm run dev` talks to. */
const backend = process.env.MOZNODS_URL ?? "http://127.0.0.1:8080";

/** Tells the service worker which files there are, and by their hashed names which build it belongs to. */
function knownToWorker(): Plugin {
  return {
    name: "known-to-worker",
    generateBundle(_, bundle) {
      const files = Object.keys(bundle).filter((name) => name.startsWith("assets/"));
      const worker = bundle["sw.js"];
      if (worker?.type !== "chunk") return this.error("there is no sw.js");
      const paths = files.sort().map((name) => `/${name}`);
      const build = createHash("sha256").update(paths.join()).digest("hex").slice(0, 12);
      worker.code = worker.code
        .replaceAll("__FILES__", JSON.stringify(paths))
        .replaceAll("__BUILD__", JSON.stringify(build));
    },
  };
}

export default defineConfig({
  plugins: [knownToWorker()],
  resolve: { alias: { "@locales": locales } },
  build: {
    target: "es2022",
    // The server's Content-Security-Policy allows files, not inlined copies of them.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      // `docs` is the page that shows the API.
      input: { index: "index.html", docs: "docs.html", sw: "src/sw.ts" },
      output: {
        // Its address is its name for as long as it is installed.
        entryFileNames: ({ name }) => (name === "sw" ? "sw.js" : "assets/[name]-[hash].js"),
      },
    },
  },
  json: { namedExports: true },
  server: {
    fs: { allow: [".", locales] },
    proxy: { "/api": backend, "/ws": { target: backend, ws: true } },
  },
  test: { include: ["src/**/*.test.ts"] },
});
