// Every screen, as it is and at all widths: nothing sticks out, and axe finds nothing against it, in both themes and languages.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { fits, isAccessible, launch, Person, Server } from "./harness.mjs";
import { open, screens, settle, WORDS } from "./tour.mjs";

describe("every screen", () => {
  let server;
  let browser;
  let place;
  before(async () => {
    server = await Server.start();
    browser = await launch();
    place = await settle(browser, server);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  for (const [language, theme] of [
    ["en", "dark"],
    ["ru", "light"],
  ]) {
    it(`in ${language}, ${theme}`, async () => {
      const { anna } = place;
      const { page } = anna;
      await page.emulateMedia({ colorScheme: theme });
      await page.goto("/");
      await page.evaluate((language) => localStorage.setItem("moznods.language", language), language);
      await page.reload();
      const problems = [];
      const note = (error) => problems.push(error.message);
      for (const screen of screens(place)) {
        await open(page, screen, WORDS[language]);
        await isAccessible(anna, `${screen.name} in ${language}, ${theme}`).catch(note);
        // A hand that hovers keeps nothing open while the window changes; a dialog stays.
        if (screen.name !== "message-actions") await fits(anna, `${screen.name} in ${language}`).catch(note);
        await screen.leave?.(page);
      }
      assert.equal(problems.join("\n"), "");
    });

    it(`of who comes in, in ${language}, ${theme}`, async () => {
      const person = await Person.arrive(browser, server, { colorScheme: theme, reducedMotion: "reduce" });
      const { page } = person;
      await page.goto("/");
      await page.evaluate((language) => localStorage.setItem("moznods.language", language), language);
      await page.reload();
      for (const name of ["sign-in", "register", "reset"]) {
        if (name === "register") await page.locator(".auth .segments button").last().click();
        if (name === "reset") await page.goto("/#/reset/a-link");
        await page.locator("form button[type=submit]").click();
        await page.locator(".field-error").first().waitFor();
        await isAccessible(person, `${name} in ${language}, ${theme}`);
        await fits(person, `${name} in ${language}`);
      }
      await person.leave();
    });
  }
});
