// What the client costs: how much of it comes first, how soon a phone can use a room, and a long history in motion. How long
// things take is held against its limits by `npm run speed` alone, on a machine that does nothing else.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { launch, Person, Server, until } from "./harness.mjs";

const FIRST_LOAD_BYTES = 150 * 1024;
const MESSAGES = 10_000;
const LONG_TASK_MS = 100;
/** A cheap phone over 4G, as Lighthouse has it. */
const PHONE = { cpu: 4, latency: 150, bytesPerSecond: (1.6 * 1024 * 1024) / 8 };
const USABLE_MS = 3_000;
const measuring = process.env.MOZNODS_MEASURE !== undefined;

describe("the client", () => {
  let server;
  let browser;
  let anna;
  let room;
  before(async () => {
    server = await Server.start();
    browser = await launch();
    anna = await Person.arrive(browser, server);
    await anna.register("anna");
    await anna.makeRoom("Garden");
    room = anna.roomId();
    // Its token is known then, and the page need not take part.
    await anna.ask("GET", "/api/auth/me/");
    await anna.page.goto("about:blank");
    await anna.write(
      room,
      Array.from(
        { length: MESSAGES },
        (_, index) => `Line ${index + 1}: **bold**, \`code\` and https://example.org/${index}`,
      ),
      64,
    );
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  it("comes in no more than 150 KB of compressed scripts", async () => {
    const page = await (await fetch(server.origin)).text();
    const scripts = [...page.matchAll(/(?:src|href)="([^"]+\.js)"/g)].map((match) => match[1]);
    assert.ok(scripts.length > 0);
    let bytes = 0;
    for (const script of scripts) {
      const answer = await fetch(server.origin + script);
      bytes += gzipSync(Buffer.from(await answer.arrayBuffer()), { level: 9 }).length;
    }
    assert.ok(bytes <= FIRST_LOAD_BYTES, `${bytes} bytes`);
  });

  it("is usable on a slow phone", async (test) => {
    const phone = await anna.context.newPage();
    const cdp = await anna.context.newCDPSession(phone);
    await cdp.send("Network.enable");
    await cdp.send("Network.setCacheDisabled", { cacheDisabled: true });
    await cdp.send("Network.emulateNetworkConditions", {
      offline: false,
      latency: PHONE.latency,
      downloadThroughput: PHONE.bytesPerSecond,
      uploadThroughput: PHONE.bytesPerSecond,
    });
    await cdp.send("Emulation.setCPUThrottlingRate", { rate: PHONE.cpu });
    const began = Date.now();
    await phone.goto(`${server.origin}/#/room/${room}`, { waitUntil: "commit" });
    await phone.locator("[data-message-id]").last().waitFor();
    await phone.getByRole("textbox", { name: "Write a message" }).fill("Usable");
    const took = Date.now() - began;
    await phone.close();
    test.diagnostic(`usable after ${took} ms`);
    assert.ok(took <= USABLE_MS || !measuring, `${took} ms`);
  });

  it("scrolls through ten thousand messages, and keeps few of them", async (test) => {
    const { page } = anna;
    await page.addInitScript(() => {
      window.longest = 0;
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration);
      }).observe({ type: "longtask" });
    });
    const log = page.getByRole("log", { name: "Messages" });
    await page.goto("about:blank");
    await page.goto(`/#/room/${room}`);
    const last = page.locator("[data-message-id] .text").last();
    const newest = await last.textContent();
    // The start has its own test.
    await page.evaluate(() => {
      window.longest = 0;
    });
    const reached = await log.evaluate(async (box) => {
      // Written many at once, they stand in the order in which they came.
      const numbers = () =>
        [...box.querySelectorAll(".text")].map((text) => Number(/Line (\d+)/.exec(text.textContent)?.[1]));
      const number = () => Math.min(...numbers());
      let most = 0;
      const end = Date.now() + 100_000;
      while (number() > 1 && Date.now() < end) {
        box.scrollBy(0, -1200);
        await new Promise(requestAnimationFrame);
        most = Math.max(most, box.querySelectorAll("[data-message-id]").length);
      }
      return { first: number(), most };
    });
    assert.equal(reached.first, 1, "the beginning is reached");
    assert.ok(reached.most <= 350, `${reached.most} messages on the page at once`);
    const longest = await page.evaluate(() => window.longest);
    test.diagnostic(`the longest task took ${longest} ms`);
    assert.ok(longest < LONG_TASK_MS || !measuring, `the longest task took ${longest} ms`);
    await page.getByRole("button", { name: "To the newest messages" }).click();
    await until("the end is in sight", async () => {
      const value = await last.textContent();
      return { done: value === newest, value };
    });
    await anna.leave();
  });
});
