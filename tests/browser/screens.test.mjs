// How the screens look, wide and narrow, into `target/screenshots/`; and that nothing sticks out at any usual width.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { fits, launch, Person, Server, until } from "./harness.mjs";
import { NARROW, pictures, WIDE } from "./look.mjs";

describe("screens", () => {
  let server;
  let browser;
  let anna;
  let boris;
  before(async () => {
    server = await Server.start();
    browser = await launch();
    anna = await Person.arrive(browser, server);
    boris = await Person.arrive(browser, server, { colorScheme: "light" });
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  it("sign-in and registration", async () => {
    const { page } = anna;
    await page.goto("/");
    await page.getByLabel("Username or e-mail").waitFor();
    await pictures(anna, "sign-in");
    await fits(anna, "sign-in");
    await page.getByRole("button", { name: "Register", exact: true }).click();
    await page.getByRole("button", { name: "Create account" }).click();
    await page.getByText("Fill in this field.").first().waitFor();
    await pictures(anna, "register");
    await fits(anna, "register");
    await page.getByRole("button", { name: "Русский" }).click();
    await page.getByRole("button", { name: "Создать аккаунт" }).waitFor();
    await fits(anna, "registration in Russian");
    await page.getByRole("button", { name: "English" }).click();
  });

  it("rooms", async () => {
    await anna.register("anna");
    await anna.page.getByText("No rooms yet").waitFor();
    await pictures(anna, "no-rooms");
    for (const name of [
      "Garden",
      "Sunday chess",
      "A room whose name is so long that no list and no heading in the world could ever show all of it at once",
      "Дача",
      "Family",
    ]) {
      await anna.page.goto("/#/");
      await anna.makeRoom(name);
    }
    await boris.register("boris", await anna.invitationLink());
    await boris.page.getByRole("heading", { name: "Family", exact: true }).waitFor();
    await anna.page.getByRole("button", { name: "Pin", exact: true }).click();
    await anna.page.getByRole("button", { name: "Unpin", exact: true }).waitFor();
    await anna.page.goto("/#/");
    await boris.say("Is anybody there?");
    await boris.enterCall("Voice call");
    const item = anna.page.getByRole("link", { name: /Family/ });
    await item.getByText("boris").waitFor();
    await anna.page.reload();
    await item.getByText("1 unread message").waitFor();
    await item.getByText("boris").waitFor();
    await pictures(anna, "rooms");
    await fits(anna, "rooms");
    await boris.page.getByRole("button", { name: "Leave the call" }).click();
    await item.getByText("boris").waitFor({ state: "detached" });
  });

  it("a room", async () => {
    await anna.page.getByRole("link", { name: /Family/ }).click();
    await anna.sees("Is anybody there?");
    await anna.say("Yes, I am here.");
    await anna.say(
      "Two lines\nof text, and an address: https://example.org/a/rather/long/path?with=parameters&and=more",
    );
    await anna.say("Aword".repeat(60));
    await boris.say("Good.");
    await boris.say("Shall we talk?");
    await boris.say("<img src=x onerror=alert(1)> is text, and so is javascript:alert(1)");
    await anna.sees("Shall we talk?");
    const link = anna.page.locator(".text a");
    assert.equal(await link.count(), 1);
    assert.equal(await link.getAttribute("rel"), "noopener noreferrer");
    assert.equal(await anna.page.locator(".text img").count(), 0);
    await pictures(anna, "room");
    await pictures(boris, "room-light");
    await fits(anna, "a room");

    await anna.page.setViewportSize(NARROW);
    await anna.page.getByRole("button", { name: "About the room" }).click();
    await anna.page.getByRole("dialog").getByText("@boris").waitFor();
    await anna.screenshot("about-room-narrow");
    await fits(anna, "about a room");
    await anna.page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
    await anna.page.setViewportSize(WIDE);
  });

  it("a call", async () => {
    await anna.enterCall("Video call");
    await boris.enterCall("Video call");
    for (const person of [anna, boris]) {
      await until(`${person.username} sees both pictures`, async () => {
        const value = await person.page.evaluate(() =>
          [...document.querySelectorAll(".tile video")].map((video) => [video.videoWidth, video.currentTime]),
        );
        return { done: value.length === 2 && value.every(([width, at]) => width > 0 && at > 0), value };
      });
      await person.page.locator('.tile[data-link="direct"], .tile[data-link="relayed"]').waitFor();
    }
    await boris.page.getByRole("button", { name: "Mute the microphone" }).click();
    await anna.page.locator(".tile", { hasText: "boris" }).getByText("microphone off").waitFor();
    await pictures(anna, "call");
    await pictures(boris, "call-light");
    await fits(anna, "a call");
    await anna.page.setViewportSize(NARROW);
    await anna.page.getByRole("button", { name: "Enlarge the call" }).click();
    await anna.screenshot("call-enlarged-narrow");
    await fits(anna, "an enlarged call");
    await anna.page.getByRole("button", { name: "Shrink the call" }).click();
    await anna.page.getByRole("link", { name: "To the rooms" }).click();
    await anna.page.getByRole("link", { name: /Call: Family/ }).waitFor();
    await anna.screenshot("call-elsewhere-narrow");
    await fits(anna, "the bar of a call");
  });

  it("all of it in Russian", async () => {
    const room = boris.page.url();
    await boris.page.goto("/#/settings/appearance");
    await boris.page.getByRole("button", { name: "Русский" }).click();
    await boris.page.goto(room);
    await boris.page.getByText("2 участника").first().waitFor();
    await boris.page.getByRole("button", { name: "Выйти из звонка" }).waitFor();
    await fits(boris, "a call in Russian");
    await boris.screenshot("call-russian-wide");
    for (const person of [anna, boris]) await person.leave();
  });
});
