// Who may do what in a room, and how people find rooms and each other.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { launch, Person, Server, until } from "./harness.mjs";

describe("a community", () => {
  let server;
  let browser;
  let anna;
  let boris;
  let vera;
  let garden;
  const actions = async (person, name, item) => {
    await person.page.getByRole("button", { name: `Actions for ${name}` }).click();
    await person.page.getByRole("menuitem", { name: item }).click();
  };
  const dialog = (person) => person.page.getByRole("dialog").last();
  const item = (person, name) =>
    person.page.getByRole("navigation", { name: "Rooms", exact: true }).getByRole("link", { name });
  before(async () => {
    server = await Server.start();
    browser = await launch();
    anna = await Person.arrive(browser, server, { permissions: ["clipboard-read", "clipboard-write"] });
    boris = await Person.arrive(browser, server);
    vera = await Person.arrive(browser, server);
    await anna.register("anna");
    await anna.makeRoom("Garden");
    garden = anna.roomId();
    await boris.register("boris", await anna.invitationLink());
    await vera.register("vera");
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  it("has topics, which all see at once", async () => {
    await anna.page.getByRole("button", { name: "Edit the room" }).click();
    await anna.page.getByLabel("Topic").fill("Seeds and **soil**");
    await anna.page.getByRole("button", { name: "Save" }).click();
    await boris.page.locator(".topic strong", { hasText: "soil" }).waitFor();
    assert.equal(await boris.page.getByRole("button", { name: "Edit the room" }).count(), 0);
  });

  it("adds people without a link, found by their names", async () => {
    await anna.page.getByRole("button", { name: "Add a member" }).click();
    await anna.page.getByLabel("Find people by name").fill("ver");
    await dialog(anna).getByRole("button", { name: "Add: vera" }).click();
    await item(vera, /Garden/).waitFor();
    await anna.page.getByText("3 members").first().waitFor();
    await item(vera, /Garden/).click();
  });

  it("says who is there", async () => {
    await anna.page.getByText("@vera · online").waitFor();
    await vera.page.goto("about:blank");
    await anna.page.getByText("@vera", { exact: true }).waitFor();
    await vera.page.goto(`/#/room/${garden}`);
    await anna.page.getByText("@vera · online").waitFor();
  });

  it("has moderators, who may do more than members and less than owners", async () => {
    await actions(anna, "boris", "Make a moderator");
    await boris.page.getByText(/@boris · moderator/).waitFor();
    await boris.page.getByRole("button", { name: "Edit the room" }).waitFor();
    await boris.page.getByRole("button", { name: "Actions for vera" }).waitFor();
    assert.equal(await boris.page.getByRole("button", { name: "Actions for anna" }).count(), 0);
    assert.equal(await boris.page.getByRole("button", { name: "Delete the room" }).count(), 0);
    assert.equal(await vera.page.getByRole("button", { name: /^Actions for/ }).count(), 0);
  });

  it("bans, says why, and lets in again", async () => {
    await actions(boris, "vera", "Ban from the room");
    await boris.page.getByLabel("Reason").fill("Weeds");
    await dialog(boris).getByRole("button", { name: "Ban", exact: true }).click();
    await vera.page.getByText("There is no such room here").waitFor();
    const link = await anna.invitationLink();
    await vera.page.goto(link);
    await vera.page.getByText("The invitation did not work").waitFor();
    await boris.page.getByRole("button", { name: "Banned people" }).click();
    await dialog(boris).getByText("Weeds").waitFor();
    await dialog(boris).getByRole("button", { name: "Let vera in again" }).click();
    await dialog(boris).getByText("Nobody is banned").waitFor();
    await boris.page.keyboard.press("Escape");
    await vera.page.getByRole("button", { name: "Try again" }).click();
    await vera.enter();
  });

  it("invites as many as one says, and no more once it is revoked", async () => {
    const { page } = anna;
    await page.getByRole("button", { name: "Invite", exact: true }).click();
    const link = page.getByLabel("Invitation link");
    const endless = await link.inputValue();
    await page.getByLabel("How many may enter").selectOption({ label: "1 person" });
    await until("another link is made", async () => {
      const value = await link.inputValue();
      return { done: value !== endless, value };
    });
    const once = await link.inputValue();
    await dialog(anna).getByRole("button", { name: "Copy", exact: true }).click();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), once);
    await dialog(anna).getByRole("button", { name: "Revoke this invitation" }).first().click();
    await page.keyboard.press("Escape");
    const [gleb, dina] = [await Person.arrive(browser, server), await Person.arrive(browser, server)];
    await gleb.register("gleb", once);
    await gleb.page.getByRole("heading", { name: "Garden", exact: true }).waitFor();
    await dina.register("dina", once);
    await dina.page.getByText("The invitation did not work").waitFor();
    await dina.page.goto(endless);
    await dina.page.getByText("The invitation did not work").waitFor();
    for (const person of [gleb, dina]) await person.leave();
  });

  it("is quiet in a room that is muted, but for mentions", async () => {
    await boris.page.getByRole("button", { name: "Mute", exact: true }).click();
    await boris.page.getByRole("menuitem", { name: "Until I unmute it" }).click();
    await boris.page.getByText("Muted: you are told only of mentions.").waitFor();
    await boris.makeRoom("Elsewhere");
    await anna.say("Rain today");
    await item(boris, /Garden/)
      .getByText("1 unread message")
      .waitFor();
    assert.doesNotMatch(await boris.page.title(), /^\(\d/);
    await anna.say("@boris look");
    await item(boris, /Garden/)
      .getByText("1 mention")
      .waitFor();
    await until("the title counts the mention", async () => {
      const value = await boris.page.title();
      return { done: value.startsWith("(1)"), value };
    });
    await boris.page.getByRole("link", { name: "Mentions" }).click();
    await boris.page.getByRole("link", { name: /@boris look/ }).click();
    await boris.page.locator(".message.flash", { hasText: "look" }).waitFor();
    await boris.page.getByRole("button", { name: "Unmute" }).click();
    await boris.page.getByRole("button", { name: "Mute", exact: true }).waitFor();
  });

  it("shows public rooms to all, who enter them", async () => {
    await anna.page.getByRole("button", { name: "Edit the room" }).click();
    await anna.page.getByRole("switch", { name: "Public room" }).click();
    await anna.page.getByRole("button", { name: "Save" }).click();
    const egor = await Person.arrive(browser, server);
    await egor.register("egor");
    await egor.page.getByRole("link", { name: "Explore" }).click();
    await egor.page.getByLabel("Find rooms").fill("no such room");
    await egor.page.getByText("Nothing was found").waitFor();
    await egor.page.getByLabel("Find rooms").fill("gard");
    await egor.page.getByRole("button", { name: "Enter: Garden" }).click();
    await egor.page.waitForURL(new RegExp(`#/room/${garden}$`));
    await egor.sees("Rain today");
    await egor.page.getByRole("link", { name: "Explore" }).click();
    await egor.page.getByRole("button", { name: "Open: Garden" }).waitFor();
    await egor.page.getByRole("link", { name: "People" }).click();
    await egor.page.getByLabel("Find people").fill("anna");
    await egor.page.getByRole("button", { name: "Write: anna" }).click();
    await egor.say("Between us");
    await item(anna, /egor/).click();
    await anna.sees("Between us");
    await egor.leave();
  });

  it("gives a room away", async () => {
    await item(anna, /Garden/).click();
    await actions(anna, "boris", "Give the room away");
    await dialog(anna).getByRole("button", { name: "Give away" }).click();
    await anna.page.getByText(/@boris · owner/).waitFor();
    await boris.page.goto(`/#/room/${garden}`);
    await boris.page.getByRole("button", { name: "Delete the room" }).waitFor();
    assert.equal(await anna.page.getByRole("button", { name: "Delete the room" }).count(), 0);
    for (const person of [anna, boris, vera]) await person.leave();
  });
});
