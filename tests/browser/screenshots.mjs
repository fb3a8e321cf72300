// Pictures of every screen, in both themes and both languages, wide and narrow, into `target/screenshots/`:
// `npm run screenshots`, or with names of screens behind it for those alone.

import { launch, Person, Server } from "./harness.mjs";
import { open, screens, settle, WORDS } from "./tour.mjs";

const SIZES = { wide: { width: 1440, height: 900 }, narrow: { width: 360, height: 740 } };
const wanted = process.argv.slice(2);

const server = await Server.start();
const browser = await launch();
try {
  const place = await settle(browser, server);
  const { anna } = place;
  const stranger = await Person.arrive(browser, server);
  const entrance = [
    { name: "sign-in", open: (page) => page.goto("/") },
    {
      name: "register",
      open: async (page) => {
        await page.goto("/");
        await page.locator(".auth .segments button").last().click();
        await page.locator('input[name="username"]').fill("");
        await page.locator('form button[type="submit"]').click();
      },
    },
    { name: "reset", open: (page) => page.goto("/#/reset/a-link"), ready: 'input[name="password"]' },
  ];
  for (const [person, all] of [
    [stranger, entrance],
    [anna, screens(place)],
  ]) {
    const { page } = person;
    for (const language of ["en", "ru"]) {
      await page.goto("/");
      await page.evaluate((language) => localStorage.setItem("moznods.language", language), language);
      await page.reload();
      for (const screen of all) {
        if (wanted.length > 0 && !wanted.includes(screen.name)) continue;
        for (const [size, viewport] of Object.entries(SIZES)) {
          await page.setViewportSize(viewport);
          await page.mouse.move(0, 0);
          await open(page, screen, WORDS[language]);
          for (const theme of ["dark", "light"]) {
            await page.emulateMedia({ colorScheme: theme });
            await person.screenshot(`${screen.name}-${language}-${theme}-${size}`);
          }
          await screen.leave?.(page);
        }
      }
    }
  }
} finally {
  await browser.close();
  await server.stop();
}
