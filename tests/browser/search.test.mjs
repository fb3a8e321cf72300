// Finding what was said: words, where one takes part, and the way to the message itself.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { launch, Person, Server, until } from "./harness.mjs";

describe("a search", () => {
  let server;
  let browser;
  let anna;
  let boris;
  before(async () => {
    server = await Server.start();
    browser = await launch();
    anna = await Person.arrive(browser, server);
    boris = await Person.arrive(browser, server);
    await anna.register("anna");
    await anna.makeRoom("Garden");
    await anna.write(anna.roomId(), [
      "The roses are out",
      ...Array.from({ length: 130 }, (_, index) => `Line ${index}`),
    ]);
    await anna.makeRoom("Kitchen");
    await anna.write(anna.roomId(), ["A cake like a rose, with roses"]);
    await boris.register("boris");
    // The index follows a moment later.
    await until("both can be found", async () => {
      const { results } = await anna.ask("GET", "/api/search/?q=roses");
      return { done: results.length === 2, value: results };
    });
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  it("finds words in all rooms, and marks them", async () => {
    const { page } = anna;
    await page.getByRole("link", { name: "Search" }).click();
    await page.getByLabel("Words in messages").fill("roses");
    const found = page.getByRole("list", { name: "Found messages" }).getByRole("listitem");
    await found.first().waitFor();
    assert.equal(await found.count(), 2);
    assert.match((await found.first().locator("mark").allTextContents()).join(" "), /roses/);
    await page.getByLabel("Where").selectOption({ label: "Garden" });
    await page.getByText("A cake like").waitFor({ state: "detached" });
    // What was found before goes before what is found now comes.
    await found.first().waitFor();
    assert.equal(await found.count(), 1);
  });

  it("leads to the message in its place, and back to what was sought", async () => {
    const { page } = anna;
    await page.getByRole("link", { name: /The roses are out/ }).click();
    await page.locator(".message.flash", { hasText: "The roses are out" }).waitFor();
    await page.goBack();
    await page.getByRole("list", { name: "Found messages" }).getByRole("listitem").first().waitFor();
    assert.equal(await page.getByLabel("Words in messages").inputValue(), "roses");
    await page.getByRole("link", { name: "Search" }).click();
    await page.getByText("Find what was said").waitFor();
    assert.equal(await page.getByLabel("Words in messages").inputValue(), "");
  });

  it("finds nothing where one takes no part", async () => {
    const { page } = boris;
    await page.goto("/#/search/roses");
    await page.getByText("Nothing was found").waitFor();
    for (const person of [anna, boris]) await person.leave();
  });
});
