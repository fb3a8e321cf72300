// A conversation as people have it: answers, changes, reactions, mentions, Markdown, files, what is read and who is typing.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { launch, Person, Server, until } from "./harness.mjs";

/** A PNG of one colour, drawn by the browser. */
const picture = (page, colour, width = 320, height = 200) =>
  page
    .evaluate(
      async ([colour, width, height]) => {
        const canvas = Object.assign(document.createElement("canvas"), { width, height });
        const context = canvas.getContext("2d");
        context.fillStyle = colour;
        context.fillRect(0, 0, width, height);
        return canvas.toDataURL("image/png").split(",")[1];
      },
      [colour, width, height],
    )
    .then((data) => Buffer.from(data, "base64"));

describe("a conversation", () => {
  let server;
  let browser;
  let anna;
  let boris;
  let room;
  const field = (person) => person.page.getByRole("textbox", { name: "Write a message" });
  const act = async (person, text, name) => {
    await person.message(text).hover();
    await person.message(text).getByRole("button", { name, exact: true }).click();
  };
  const choose = async (person, text, name) => {
    await act(person, text, "More actions");
    await person.page.getByRole("menuitem", { name }).click();
  };
  before(async () => {
    server = await Server.start();
    browser = await launch();
    anna = await Person.arrive(browser, server, { permissions: ["clipboard-read", "clipboard-write"] });
    boris = await Person.arrive(browser, server);
    await anna.register("anna");
    await anna.makeRoom("Garden");
    room = anna.roomId();
    await boris.register("boris", await anna.invitationLink());
    await boris.page.waitForURL(/#\/room\/\d+$/);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  it("answers a message, and leads back to it", async () => {
    await anna.say("Who brings the cake?");
    await boris.sees("Who brings the cake?");
    await act(boris, "Who brings the cake?", "Reply");
    await boris.page.getByText("Reply to anna:").waitFor();
    await boris.say("I do");
    const answer = anna.message("I do");
    await answer.getByText("Who brings the cake?").click();
    await anna.page.locator(".message.flash", { hasText: "Who brings" }).waitFor();
  });

  it("is changed by the key upwards, for everybody", async () => {
    await boris.page.bringToFront();
    await field(boris).press("ArrowUp");
    await boris.page.getByText("Changing your message").waitFor();
    await field(boris).fill("I do, with cherries");
    await field(boris).press("Enter");
    for (const person of [anna, boris]) {
      await person.sees("I do, with cherries");
      await person.message("I do, with cherries").getByText("edited").waitFor();
    }
    assert.equal(await field(boris).inputValue(), "", "what is written is new again");
  });

  it("is deleted by who wrote it, and by who moderates", async () => {
    await boris.say("A mistake");
    await boris.say("Something rude");
    await choose(boris, "A mistake", "Delete");
    await boris.page.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click();
    await anna.message("A mistake").waitFor({ state: "detached" });
    await choose(anna, "Something rude", "Delete");
    await anna.page.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click();
    await boris.message("Something rude").waitFor({ state: "detached" });
    await act(boris, "Who brings", "More actions");
    assert.equal(await boris.page.getByRole("menuitem", { name: "Delete" }).count(), 0);
    await boris.page.keyboard.press("Escape");
  });

  it("is reacted to, and the reaction taken back", async () => {
    await act(boris, "Who brings", "React with 👍");
    const chip = (person) => person.message("Who brings").getByRole("button", { name: /^👍 \d/ });
    await chip(anna).getByText("1").waitFor();
    await chip(anna).click();
    await chip(boris).getByText("2").waitFor();
    assert.match((await chip(boris).getAttribute("title")) ?? "", /you.*anna|anna.*you/);
    await act(boris, "Who brings", "React");
    await boris.page.getByRole("dialog", { name: "Emoji" }).getByRole("button", { name: "🎉" }).click();
    await anna
      .message("Who brings")
      .getByRole("button", { name: /^🎉 1 .*boris/ })
      .waitFor();
    await chip(boris).click();
    await chip(anna).getByText("1").waitFor();
  });

  it("mentions whom one begins to name", async () => {
    await field(anna).pressSequentially("Hello @bo");
    await anna.page.getByRole("option", { name: /boris/ }).waitFor();
    await field(anna).press("Enter");
    assert.equal(await field(anna).inputValue(), "Hello @boris ");
    await boris.page.evaluate(() => {
      location.hash = "#/";
    });
    await anna.page.keyboard.press("Enter");
    await boris.page.getByText("1 mention", { exact: true }).waitFor();
    await boris.page.getByRole("link", { name: /Garden/ }).click();
    await boris.message("Hello").locator(".mention.me", { hasText: "@boris" }).waitFor();
    assert.equal(await anna.message("Hello").locator(".mention.me").count(), 0);
  });

  it("shows Markdown, and never markup", async () => {
    const text =
      "**bold** `code <b>` [a link](https://example.org/)\n- one\n- two\n```\n<script>alert(1)</script>\n```";
    await anna.ask("POST", `/api/chat/${room}/messages/`, { content: text });
    const shown = boris.page.locator("[data-message-id]").last().locator(".text");
    await shown.locator("strong", { hasText: "bold" }).waitFor();
    assert.equal(await shown.locator(":not(pre) > code").textContent(), "code <b>");
    assert.equal(await shown.locator("a").getAttribute("href"), "https://example.org/");
    assert.deepEqual(await shown.locator("ul > li").allTextContents(), ["one", "two"]);
    assert.equal(await shown.locator("pre").textContent(), "<script>alert(1)</script>");
    assert.equal(await shown.locator("script, b").count(), 0);
  });

  it("says who is typing, until it is sent", async () => {
    const typing = anna.page.getByText("boris is typing…");
    // That is shown for some seconds after the last letter, and may be looked at later than that.
    await until("boris is seen typing", async () => {
      await field(boris).pressSequentially("Well ");
      const value = await typing.isVisible();
      return { done: value, value };
    });
    await field(boris).press("Enter");
    await typing.waitFor({ state: "detached" });
  });

  it("shows that one's words have been read", async () => {
    await boris.page.evaluate(() => {
      location.hash = "#/";
    });
    await anna.page.bringToFront();
    await anna.say("Have you read this?");
    await anna.message("Have you read this?").getByText("Delivered").waitFor();
    await boris.page.bringToFront();
    await boris.page.getByRole("link", { name: /Garden/ }).click();
    await anna.message("Have you read this?").getByText("Read by boris").waitFor();
  });

  it("takes files by choice, by paste and by drop, and shows pictures whole", async () => {
    const { page } = anna;
    await page.bringToFront();
    const [red, blue] = [await picture(page, "red"), await picture(page, "blue", 1600, 1200)];
    await page.locator('input[type="file"]').setInputFiles([
      { name: "red.png", mimeType: "image/png", buffer: red },
      { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("seeds, soil") },
    ]);
    await page.getByText("notes.txt").waitFor();
    await page.evaluate((data) => {
      const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], "blue.png", { type: "image/png" }));
      const area = document.querySelector(".composer textarea");
      area.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
    }, blue.toString("base64"));
    await page.evaluate(() => {
      const transfer = new DataTransfer();
      transfer.items.add(new File(["dropped"], "dropped.txt", { type: "text/plain" }));
      const zone = document.querySelector(".chat .messages");
      const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
      zone.dispatchEvent(new DragEvent("dragover", options));
      zone.dispatchEvent(new DragEvent("drop", options));
    });
    const tray = page.getByRole("list", { name: "Attachments" }).getByRole("listitem");
    assert.equal(await tray.count(), 4);
    await field(anna).fill("Plans");
    await page.getByRole("button", { name: "Send" }).and(page.locator(":enabled")).waitFor();
    await anna.say("Plans");
    const message = boris.message("Plans");
    await message.getByRole("button", { name: "Open the picture red.png" }).waitFor();
    const [saved] = await Promise.all([
      boris.page.waitForEvent("download"),
      message.getByText("notes.txt").click(),
    ]);
    assert.equal(saved.suggestedFilename(), "notes.txt");

    await message.getByRole("button", { name: "Open the picture red.png" }).click();
    const viewer = boris.page.getByRole("dialog", { name: "red.png" });
    await until("the picture is there", async () => {
      const value = await viewer.locator(".viewer-stage img").evaluate((image) => image.naturalWidth);
      return { done: value === 320, value };
    });
    await boris.page.keyboard.press("ArrowRight");
    await boris.page.getByRole("dialog", { name: "blue.png" }).waitFor();
    await boris.page.keyboard.press("Escape");
    await boris.page.getByRole("dialog").waitFor({ state: "detached" });
  });

  it("says why a file is refused", async () => {
    const { page } = anna;
    await page.locator('input[type="file"]').setInputFiles({
      name: "program.exe",
      mimeType: "application/octet-stream",
      buffer: Buffer.from("MZ\u0000\u0001"),
    });
    await page.getByRole("list", { name: "Attachments" }).getByRole("alert").waitFor();
    await page.getByRole("button", { name: "Remove program.exe" }).click();
    await page.getByRole("list", { name: "Attachments" }).waitFor({ state: "detached" });
  });

  it("opens at what is unread, and the end is one press away", async () => {
    await boris.makeRoom("Elsewhere");
    await anna.write(
      room,
      Array.from({ length: 120 }, (_, index) => `News ${index + 1}`),
    );
    await boris.page
      .getByRole("link", { name: /Garden/ })
      .getByText("120 unread messages")
      .waitFor();
    await boris.page.getByRole("link", { name: /Garden/ }).click();
    await boris.page.getByText("New messages", { exact: true }).waitFor();
    await until("the first unread message is in sight, the last is not", async () => {
      const value = await boris.page.getByRole("log", { name: "Messages" }).evaluate((box) => {
        const { top, bottom } = box.getBoundingClientRect();
        return [...box.querySelectorAll("[data-message-id]")]
          .filter(
            (row) => row.getBoundingClientRect().top >= top && row.getBoundingClientRect().bottom <= bottom,
          )
          .map((row) => row.querySelector(".text")?.textContent);
      });
      return { done: value.includes("News 1") && !value.includes("News 120"), value };
    });
    // What was in sight is read, and no more.
    await until("some are left", async () => {
      const { unread_count: value } = await boris.ask("GET", `/api/rooms/${room}/`);
      return { done: value > 50 && value < 120, value };
    });
    await boris.page.getByRole("button", { name: "To the newest messages" }).click();
    await boris.sees("News 120");
    await until("all is read", async () => {
      const { unread_count: value } = await boris.ask("GET", `/api/rooms/${room}/`);
      return { done: value === 0, value };
    });
  });

  it("goes to a message by its address", async () => {
    const { results } = await anna.ask("GET", `/api/chat/${room}/messages/?page_size=100&page=2`);
    const old = results.find((message) => message.content === "I do, with cherries");
    await anna.page.goto(`/#/room/${room}/${old.id}`);
    await anna.page.locator(".message.flash", { hasText: "I do, with cherries" }).waitFor();
  });

  it("has messages pinned by who moderates, which all find", async () => {
    await anna.page.goto(`/#/room/${room}`);
    await anna.sees("News 120");
    await choose(anna, "News 119", "Pin the message");
    await boris.message("News 119").getByText("pinned").waitFor();
    await boris.page.getByRole("button", { name: "Pinned messages" }).click();
    await boris.page
      .getByRole("dialog")
      .getByRole("link", { name: /News 119/ })
      .click();
    await boris.page.locator(".message.flash", { hasText: "News 119" }).waitFor();
    assert.equal(await boris.page.getByRole("dialog").count(), 0);
    await choose(anna, "News 119", "Unpin the message");
    await boris.message("News 119").getByText("pinned").waitFor({ state: "detached" });
  });

  it("is walked through by the keys alone", async () => {
    const { page } = anna;
    await page.goto(`/#/room/${room}`);
    await page.reload();
    await anna.sees("News 120");
    await page.getByRole("log", { name: "Messages" }).focus();
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("ArrowUp");
    const focused = await page.evaluate(() => document.activeElement?.querySelector(".text")?.textContent);
    assert.match(focused ?? "", /^News 1\d\d$/);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: /^👍 1 .*you/ }).waitFor();
    for (const person of [anna, boris]) await person.leave();
  });
});
