// A network that goes away: nothing of a conversation is lost, nothing comes twice, and what was written meanwhile is sent.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { launch, Person, Server, until } from "./harness.mjs";

describe("without a network", () => {
  let server;
  let browser;
  let anna;
  let boris;
  let room;
  const texts = (person) => person.page.locator("[data-message-id] .text").allTextContents();
  before(async () => {
    server = await Server.start();
    browser = await launch();
    anna = await Person.arrive(browser, server);
    boris = await Person.arrive(browser, server);
    await anna.register("anna");
    await anna.makeRoom("Garden");
    room = anna.roomId();
    await boris.register("boris", await anna.invitationLink());
    await boris.page.waitForURL(/#\/room\/\d+$/);
    await anna.say("Before");
    await boris.sees("Before");
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  /** Ends the sockets of a page as a network does that goes away, and lets no request through. */
  async function cut(person) {
    await person.context.setOffline(true);
    await person.page.getByText("No connection to the server").first().waitFor();
  }

  it("what was missed is told afterwards, once and in order", async () => {
    await cut(boris);
    await anna.write(
      room,
      Array.from({ length: 70 }, (_, index) => `Missed ${index + 1}`),
    );
    const edited = await anna.ask("POST", `/api/chat/${room}/messages/`, { content: "Wrong" });
    await anna.ask("PATCH", `/api/chat/messages/${edited.id}/`, { content: "Right" });
    await boris.context.setOffline(false);
    await boris.sees("Right");
    const seen = await texts(boris);
    const expected = ["Before", ...Array.from({ length: 70 }, (_, index) => `Missed ${index + 1}`), "Right"];
    assert.deepEqual(seen, expected);
  });

  it("what was written waits, outlives the page, and is sent once", async () => {
    await cut(boris);
    const field = boris.page.getByRole("textbox", { name: "Write a message" });
    for (const text of ["Written offline", "And another"]) {
      await field.fill(text);
      await field.press("Enter");
    }
    const waiting = boris.page.locator(".message.pending");
    assert.equal(await waiting.count(), 2);
    // The page itself is not there without a network; what it kept is.
    const kept = await boris.page.evaluate(() =>
      JSON.parse(Object.entries(localStorage).find(([key]) => key.startsWith("moznods.outbox."))[1]),
    );
    assert.deepEqual(
      kept.map((entry) => entry.content),
      ["Written offline", "And another"],
    );
    await boris.context.setOffline(false);
    await anna.sees("Written offline");
    await anna.sees("And another");
    await waiting.first().waitFor({ state: "detached" });
    for (const person of [anna, boris])
      assert.deepEqual((await texts(person)).slice(-2), ["Written offline", "And another"]);
    assert.equal(
      await boris.page.evaluate(() => Object.keys(localStorage).some((key) => key.includes("outbox"))),
      false,
    );
  });

  it("an answer that is lost on the way makes no second message", async () => {
    // The server stores it, but its answer never arrives.
    let lost = 0;
    await boris.page.route("**/api/chat/*/messages/", async (route) => {
      if (route.request().method() !== "POST" || lost > 0) return route.continue();
      lost++;
      await route.fetch();
      await route.abort();
    });
    await boris.say("Only once");
    assert.equal(lost, 1);
    await until("nothing waits any more", async () => {
      const value = await boris.page.locator(".message.pending").count();
      return { done: value === 0, value };
    });
    await anna.say("Over");
    await boris.sees("Over");
    for (const person of [anna, boris])
      assert.equal((await texts(person)).filter((text) => text === "Only once").length, 1);
  });

  it("a server that starts again is found again", async () => {
    await server.kill();
    await anna.page.getByText("No connection to the server").first().waitFor();
    await server.run();
    await anna.page.getByText("No connection to the server").first().waitFor({ state: "detached" });
    await anna.say("Here again");
    await boris.sees("Here again");
    for (const person of [anna, boris]) await person.leave();
  });
});
