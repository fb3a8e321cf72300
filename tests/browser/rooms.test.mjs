// Rooms and their members: history, direct messages, names, pins, and the ways out.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { launch, Person, Server, until } from "./harness.mjs";

const HISTORY = 130;

describe("rooms", () => {
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
    await boris.register("boris", await anna.invitationLink());
    // Signed in he is before he has come in.
    await boris.page.waitForURL(/#\/room\/\d+$/);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  const item = (person, name) =>
    person.page.getByRole("navigation", { name: "Rooms" }).getByRole("link", { name });

  it("are read upwards page by page, and the place is kept", async () => {
    const { page } = boris;
    await page.evaluate(async (count) => {
      const { token } = JSON.parse(localStorage.getItem("moznods.session"));
      const room = location.hash.split("/").at(-1);
      for (let number = 1; number <= count; number++) {
        const answer = await fetch(`/api/chat/${room}/messages/`, {
          method: "POST",
          headers: { Authorization: `Token ${token}`, "Content-Type": "application/json" },
          body: JSON.stringify({ content: `Line ${number}` }),
        });
        if (answer.status !== 201) throw new Error(`message ${number}: ${answer.status}`);
      }
    }, HISTORY);
    await page.reload();
    await boris.sees(`Line ${HISTORY}`);
    const stored = page.locator("[data-message-id]");
    assert.ok((await stored.count()) < HISTORY, "the first page is not the whole history");

    // Upwards by the wheel, as a person reads; what stood at the top before older lines came must not jump.
    const log = page.getByRole("log", { name: "Messages" });
    await log.hover();
    await until("the first line is reached", async () => {
      await page.mouse.wheel(0, -400);
      const texts = await stored.locator(".text").allTextContents();
      return { done: texts[0] === "Line 1", value: texts[0] };
    });
    const texts = await stored.locator(".text").allTextContents();
    assert.deepEqual(
      texts,
      Array.from({ length: HISTORY }, (_, index) => `Line ${index + 1}`),
      "each once and in order",
    );

    // Back at the end, a new line is in sight at once.
    await page.getByRole("button", { name: "To the newest messages" }).click();
    await anna.say("And one more");
    await boris.sees("And one more");
    await until("the newest line is in sight", async () => {
      const value = await log.evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight);
      return { done: value < 2, value };
    });
  });

  it("keep the line that one reads in its place when older ones come in above", async () => {
    const { page } = boris;
    await page.reload();
    await boris.sees("And one more");
    const position = await page.getByRole("log", { name: "Messages" }).evaluate(async (box) => {
      const rows = () => [...box.querySelectorAll("[data-message-id]")];
      const [first] = rows();
      box.scrollTop = 250;
      const read = rows().find((row) => row.getBoundingClientRect().bottom > box.getBoundingClientRect().top);
      const before = read.getBoundingClientRect().top;
      while (rows()[0] === first) await new Promise(requestAnimationFrame);
      await new Promise(requestAnimationFrame);
      return { before, after: read.getBoundingClientRect().top };
    });
    assert.ok(Math.abs(position.after - position.before) <= 2, JSON.stringify(position));
  });

  it("count what is unread until it is seen", async () => {
    await boris.makeRoom("Workshop");
    await anna.say("Come back");
    await boris.page.reload();
    await item(boris, /Garden/)
      .getByText("1 unread message")
      .waitFor();
    await item(boris, /Garden/).click();
    await boris.sees("Come back");
    await item(boris, /Garden/)
      .getByText("unread")
      .waitFor({ state: "detached" });
    await boris.page.reload();
    await boris.sees("Come back");
    assert.equal(
      await item(boris, /Garden/)
        .getByText("unread")
        .count(),
      0,
      "the server knows it, too",
    );
  });

  it("are pinned above the newer ones", async () => {
    const { page } = boris;
    const names = () => page.locator(".room-item-name").allTextContents();
    assert.match((await names())[0], /Workshop/);
    await page.getByRole("button", { name: "Pin", exact: true }).click();
    await until("Garden is above", async () => {
      const value = await names();
      return { done: /Garden/.test(value[0]), value };
    });
    await page.reload();
    await until("Garden is still above", async () => {
      const value = await names();
      return { done: value.length === 2 && /Garden/.test(value[0]), value };
    });
  });

  it("open for two alone from the list of members, and appear for the other at once", async () => {
    await anna.page.getByRole("button", { name: "Write to boris" }).click();
    await anna.page.getByRole("heading", { name: "boris", exact: true }).waitFor();
    await anna.say("Between us");
    await item(boris, /anna/).click();
    await boris.sees("Between us");
    assert.equal(await boris.page.getByRole("button", { name: "Invite", exact: true }).count(), 0);
  });

  it("are renamed by their owner, and by nobody else", async () => {
    await item(anna, /Garden/).click();
    await anna.page.getByRole("button", { name: "Edit the room" }).click();
    await anna.page.getByLabel("Room name").fill("Orchard");
    await anna.page.getByRole("button", { name: "Save" }).click();
    await anna.page.getByRole("heading", { name: "Orchard", exact: true }).waitFor();
    await boris.page.reload();
    await item(boris, /Orchard/).click();
    await boris.page.getByRole("button", { name: "Leave the room" }).waitFor();
    assert.equal(await boris.page.getByRole("button", { name: "Edit the room" }).count(), 0);
  });

  it("close before one whom the owner removes", async () => {
    await anna.page.getByRole("button", { name: "Actions for boris" }).click();
    await anna.page.getByRole("menuitem", { name: "Remove from the room" }).click();
    await anna.page.getByRole("dialog").getByRole("button", { name: "Remove", exact: true }).click();
    await anna.page.getByText("1 member").first().waitFor();
    await boris.page.getByText("There is no such room here").waitFor();
    await item(boris, /Orchard/).waitFor({ state: "detached" });
  });

  it("are left by a member", async () => {
    await boris.page.goto(await anna.invitationLink());
    await boris.page.getByText("anna invites you to").waitFor();
    await boris.enter();
    await boris.page.getByRole("heading", { name: "Orchard", exact: true }).waitFor();
    await boris.page.getByRole("button", { name: "Leave the room" }).click();
    await boris.page.getByRole("dialog").getByRole("button", { name: "Leave", exact: true }).click();
    await boris.page.getByRole("heading", { name: "Choose a room" }).waitFor();
    await item(boris, /Orchard/).waitFor({ state: "detached" });
  });

  it("are deleted by their owner", async () => {
    await anna.page.getByRole("button", { name: "Delete the room" }).click();
    await anna.page.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click();
    await anna.page.getByRole("heading", { name: "Choose a room" }).waitFor();
    await item(anna, /Orchard/).waitFor({ state: "detached" });
    for (const person of [anna, boris]) await person.leave();
  });
});
