// The same client in another browser: Debian's Firefox and Chromium meet, chat, and talk with nothing but the relay
// between them.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  allConnected,
  control,
  keepConnections,
  relayOnly,
  seesMovement,
  tileOf,
  tilesPlay,
} from "./call-steps.mjs";
import { FIREFOX, launch, launchFirefox, Person, Server, until } from "./harness.mjs";

describe("Firefox and Chromium", () => {
  let server;
  let chromium;
  let firefox;
  let anna;
  let boris;

  before(async () => {
    server = await Server.start();
    [chromium, firefox] = await Promise.all([launch(), launchFirefox()]);
    anna = await Person.arrive(firefox, server, FIREFOX);
    boris = await Person.arrive(chromium, server);
    for (const person of [anna, boris]) {
      await person.context.addInitScript(keepConnections);
      await person.context.addInitScript(relayOnly);
    }
  });
  after(async () => {
    await Promise.all([chromium?.close(), firefox?.close()]);
    await server?.stop();
  });

  it("meet by an invitation link", async () => {
    await anna.register("anna");
    await anna.makeRoom("Garden");
    await boris.register("boris", await anna.invitationLink());
    await boris.page.getByRole("heading", { name: "Garden", exact: true }).waitFor();
  });

  it("read each other at once", async () => {
    await anna.say("Hello from Firefox");
    await boris.sees("Hello from Firefox");
    await boris.say("Hello from Chromium");
    await anna.sees("Hello from Chromium");
    await until("boris is seen typing", async () => {
      await boris.page.getByRole("textbox", { name: "Write a message" }).pressSequentially("a");
      const value = await anna.page.getByText("boris is typing…").isVisible();
      return { done: value, value };
    });
  });

  it("talk through the relay: each sees the other move", async () => {
    await anna.enterCall("Video call");
    await boris.enterCall("Video call");
    for (const person of [anna, boris]) {
      await allConnected(person, 1);
      await tilesPlay(person, 2);
      await seesMovement(person);
    }
  });
  it("see what is told beside the media", async () => {
    await control(anna, "Raise the hand").click();
    await tileOf(boris, "anna").getByText("hand raised").waitFor();
    await control(boris, "Raise the hand").click();
    await tileOf(anna, "boris").getByText("hand raised").waitFor();
  });

  it("say that there is no screen to be shared, as here", async () => {
    await control(anna, "Share the screen").click();
    await anna.page.getByText("There is no screen that could be shared").waitFor();
  });

  it("go on while the server is away, and after", async () => {
    const lost = (person) =>
      person.page.getByRole("region", { name: "Call" }).getByText("No connection to the server");
    await server.kill();
    for (const person of [anna, boris]) await lost(person).waitFor();
    await server.run();
    for (const person of [anna, boris]) {
      await lost(person).waitFor({ state: "detached" });
      await allConnected(person, 1);
      await seesMovement(person);
    }
  });

  it("leave and come back", async () => {
    await control(anna, "Leave the call").click();
    await tilesPlay(boris, 1);
    await anna.enterCall("Video call");
    for (const person of [anna, boris]) {
      await allConnected(person, 1);
      await seesMovement(person);
    }
  });

  it("find nothing wrong with the connection", async () => {
    const { page } = anna;
    await control(anna, "Leave the call").click();
    await page
      .getByRole("button", { name: "Voice call" })
      .or(page.getByRole("button", { name: "Join" }))
      .first()
      .click();
    await page.getByRole("button", { name: "Check the connection" }).click();
    const dialog = page.getByRole("dialog", { name: "Why can't I be heard?" });
    await dialog.getByRole("button", { name: "Check again" }).waitFor();
    // Where there is no speaker, as on most servers, Firefox does not measure what it hears.
    const microphone = dialog.locator('[data-step="microphone"]');
    if ((await microphone.getAttribute("class")) !== "good")
      await microphone.getByText("no speaker to play to").waitFor();
    for (const step of ["camera", "server", "socket", "stun", "udp", "tcp"])
      assert.equal(await dialog.locator(`[data-step="${step}"]`).getAttribute("class"), "good", step);
    await dialog.getByRole("button", { name: "Close" }).click();
    await page.keyboard.press("Escape");
  });

  it("complain of nothing", async () => {
    await anna.leave();
    await boris.leave();
  });
});
