// The page that shows the API: all of it, from this server alone, on phones, in both themes and languages.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { launch, Person, Server } from "./harness.mjs";

const ROOMS = "#get_rooms";

describe("the page of the API", () => {
  let server;
  let browser;

  before(async () => {
    browser = await launch();
    server = await Server.start();
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  const open = async (options, address = "/api/docs/") => {
    const person = await Person.arrive(browser, server, options);
    await person.page.goto(address);
    await person.page.locator(ROOMS).waitFor();
    return person;
  };

  it("shows every operation of the document, with a command", async () => {
    const reader = await open();
    const { page } = reader;
    const document = await (await fetch(`${server.origin}/api/openapi.json`)).json();
    const operations = Object.values(document.paths).flatMap((item) => Object.values(item));
    const ids = operations.map((operation) => operation.operationId);
    const shown = await page.locator("details.operation").evaluateAll((all) => all.map(({ id }) => id));
    assert.deepEqual(shown.sort(), ids.sort());
    await page.locator(`${ROOMS} > summary`).click();
    await page.locator(ROOMS).getByText("authentication_required").waitFor();
    await reader.screenshot("docs-wide");
    const command = await page.locator(`${ROOMS} pre`).textContent();
    assert.equal(command, `curl -H 'Authorization: Token …' '${server.origin}/api/rooms/'`);
    // Leads to the schema, and opens it.
    await page.locator(ROOMS).getByRole("link", { name: "Page_Room" }).click();
    await page.locator("#schema-Page_Room").getByText("results").waitFor();
    assert.deepEqual(reader.problems, []);
    await reader.context.close();
  });

  it("is searched, and opens what the address names", async () => {
    const reader = await open({}, "/api/docs#post_chat_room_messages");
    const { page } = reader;
    await page.locator("#post_chat_room_messages").getByText("client_id").first().waitFor();
    await page.getByRole("searchbox").fill("delete room");
    await page.locator(ROOMS).waitFor({ state: "detached" });
    await page.locator("#delete_rooms_room").waitFor();
    await page.getByRole("searchbox").fill("nothing is called so");
    await page.getByText("Nothing like that.").waitFor();
    assert.deepEqual(reader.problems, []);
    await reader.context.close();
  });

  for (const colorScheme of ["dark", "light"]) {
    it(`fits a phone, in Russian, ${colorScheme}`, async () => {
      const reader = await open({
        colorScheme,
        locale: "ru-RU",
        viewport: { width: 320, height: 640 },
        hasTouch: true,
      });
      const { page } = reader;
      await page.getByText("Само описание API").waitFor();
      // All open: nothing of it may stick out.
      await page.locator("details").evaluateAll((all) => {
        for (const details of all) details.open = true;
      });
      const [wide, background] = await page.evaluate(() => [
        document.documentElement.scrollWidth,
        getComputedStyle(document.documentElement).backgroundColor,
      ]);
      assert.ok(wide <= 320, `${wide}`);
      assert.equal(background, colorScheme === "dark" ? "rgb(23, 26, 33)" : "rgb(255, 255, 255)");
      await page.locator(`${ROOMS} > summary`).scrollIntoViewIfNeeded();
      await reader.screenshot(`docs-phone-${colorScheme}`);
      assert.deepEqual(reader.problems, []);
      await reader.context.close();
    });
  }
});
