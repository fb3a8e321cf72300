// Programs that write: webhooks of a room, and bots, as those who keep them see them.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { launch, Person, Server, until } from "./harness.mjs";

/** What a program is answered; with a token it is a bot. */
async function post(url, body, token) {
  const headers = { "Content-Type": "application/json" };
  if (token !== undefined) headers.Authorization = `Token ${token}`;
  const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  return answer.status;
}

describe("programs", () => {
  let server;
  let browser;
  let anna;
  let boris;
  let vera;
  let room;
  const dialog = () => anna.page.getByRole("dialog").last();
  const act = async (name, item) => {
    await anna.page.getByRole("button", { name: `Actions for ${name}` }).click();
    await anna.page.getByRole("menuitem", { name: item, exact: true }).click();
  };
  /** What the dialog shows once, and copies. */
  const shown = async (label) => {
    const secret = await anna.page.getByRole("textbox", { name: label }).inputValue();
    await dialog().getByRole("button", { name: "Copy" }).click();
    assert.equal(await anna.page.evaluate(() => navigator.clipboard.readText()), secret);
    await dialog().getByRole("button", { name: "I have kept it" }).click();
    return secret;
  };
  before(async () => {
    server = await Server.start();
    browser = await launch();
    anna = await Person.arrive(browser, server, { permissions: ["clipboard-read", "clipboard-write"] });
    boris = await Person.arrive(browser, server);
    await anna.register("anna");
    await anna.makeRoom("Workshop");
    room = anna.roomId();
    await boris.register("boris", await anna.invitationLink());
    vera = await Person.arrive(browser, server);
    await vera.register("vera");
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  it("write by webhooks, which moderators make, change and end", async () => {
    const { page } = anna;
    const hook = (name) => page.locator(`[data-hook="${name}"]`);
    await boris.page.getByRole("button", { name: "Leave the room" }).waitFor();
    assert.equal(await boris.page.getByRole("button", { name: "Webhooks" }).count(), 0);
    await page.getByRole("button", { name: "Webhooks" }).click();
    await page.getByText("No webhooks yet").waitFor();
    await page.getByLabel("Name of the webhook").fill("Builds");
    await page.getByRole("button", { name: "Make a webhook" }).click();
    const first = await shown("URL of Builds");
    await hook("Builds").getByText("never used").waitFor();
    assert.equal(await post(first, { content: "It is green" }), 201);
    await boris.sees("It is green");
    await boris.page.getByText("Builds").first().waitFor();

    await act("Builds", "Name and picture");
    await dialog()
      .locator("input[type=file]")
      .setInputFiles({
        name: "mark.png",
        mimeType: "image/png",
        buffer: await page.screenshot({ clip: { x: 0, y: 0, width: 64, height: 64 } }),
      });
    await dialog().getByRole("button", { name: "Remove the picture" }).waitFor();
    await dialog().getByLabel("Name of the webhook").fill("Nightly builds");
    await dialog().getByRole("button", { name: "Save" }).click();
    await hook("Nightly builds").locator("img").waitFor();

    await act("Nightly builds", "New URL");
    await dialog().getByRole("button", { name: "Make a new URL" }).click();
    const second = await shown("URL of Nightly builds");
    assert.equal(await post(first, { content: "By the old one" }), 404);
    assert.equal(await post(second, { content: "By the new one" }), 201);
    await boris.sees("By the new one");

    await act("Nightly builds", "Delete the webhook");
    await dialog().getByRole("button", { name: "Delete", exact: true }).click();
    await hook("Nightly builds").waitFor({ state: "detached" });
    assert.equal(await post(second, { content: "By nobody" }), 404);
    await page.keyboard.press("Escape");
    await anna.sees("By the new one");
  });

  it("are told when there are as many webhooks as may be", async () => {
    const { page } = anna;
    for (let n = 0; n < 10; n++) await anna.ask("POST", `/api/rooms/${room}/hooks/`, { name: `Hook ${n}` });
    await page.getByRole("button", { name: "Webhooks" }).click();
    await page.getByLabel("Name of the webhook").fill("One more");
    await page.getByRole("button", { name: "Make a webhook" }).click();
    await dialog().getByRole("alert").getByText("as many webhooks").waitFor();
    await page.keyboard.press("Escape");
  });

  it("speak as bots, by tokens that are shown once", async () => {
    const { page } = anna;
    const bot = page.locator("[data-bot=weather]");
    const say = (token, content) => post(`${server.origin}/api/chat/${room}/messages/`, { content }, token);
    await page.getByRole("link", { name: "Settings" }).click();
    await page.getByRole("link", { name: "Bots" }).click();
    await page.getByText("You have made no bots").waitFor();
    await page.getByRole("button", { name: "Make a bot" }).click();
    await dialog().getByLabel("Username").fill("boris");
    await dialog().getByRole("button", { name: "Make the bot" }).click();
    await dialog().getByText("This username is taken.").waitFor();
    await dialog().getByLabel("Username").fill("weather");
    await dialog().getByLabel("Display name").fill("Weather");
    await dialog().getByRole("button", { name: "Make the bot" }).click();
    const first = await shown("Token of weather");
    await bot.getByText("token made").waitFor();
    assert.equal(await say(first, "Not yet"), 403);
    // Moderators add bots, though no people.
    const { id } = await boris.ask("GET", "/api/auth/me/");
    await anna.ask("PATCH", `/api/rooms/${room}/participants/${id}/`, { role: "moderator" });
    await boris.page.getByRole("button", { name: "Add a bot" }).click();
    await boris.page.getByRole("button", { name: "Add: weather" }).waitFor();
    assert.equal(await boris.page.getByRole("button", { name: "Add: vera" }).count(), 0);
    await boris.page.getByRole("button", { name: "Add: weather" }).click();
    await boris.page.getByText("@weather · bot").waitFor();
    assert.equal(await say(first, "Rain at noon"), 201);
    await boris.sees("Rain at noon");

    await act("weather", "Display name");
    await dialog().getByLabel("Display name").fill("Weather of the week");
    await dialog().getByRole("button", { name: "Save" }).click();
    await bot.getByText("Weather of the week").waitFor();

    await act("weather", "New token");
    await dialog().getByRole("button", { name: "Make a new token" }).click();
    const second = await shown("Token of weather");
    assert.equal(await say(first, "By the old one"), 401);
    assert.equal(await say(second, "By the new one, again"), 201);
    await act("weather", "Take the token away");
    await dialog().getByRole("button", { name: "Take the token away" }).click();
    await bot.getByText("It has no token").waitFor();
    assert.equal(await say(second, "By none"), 401);

    await act("weather", "Delete the bot");
    await dialog().getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByText("You have made no bots").waitFor();
    await until("the bot is gone", async () => {
      const value = await anna.ask("GET", "/api/bots/");
      return { done: value.length === 0, value };
    });
    for (const person of [anna, boris, vera]) await person.leave();
  });
});
