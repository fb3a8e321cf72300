// The installed client: its manifest, its page without a network, what is pushed, and the way from there into the room.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { launch, Person, Server, until } from "./harness.mjs";

describe("the installed client", () => {
  let server;
  let browser;
  let anna;
  let room;
  before(async () => {
    server = await Server.start();
    browser = await launch();
    anna = await Person.arrive(browser, server, {
      serviceWorkers: "allow",
      permissions: ["notifications"],
    });
    await anna.register("anna");
    await anna.makeRoom("Garden");
    room = anna.roomId();
    await anna.say("In the garden");
    await anna.page.evaluate(() => navigator.serviceWorker.ready.then(() => null));
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  it("can be installed: a manifest with icons of the sizes that it says", async () => {
    const href = await anna.page.locator('link[rel="manifest"]').getAttribute("href");
    const answer = await fetch(server.origin + href);
    assert.equal(answer.headers.get("content-type"), "application/manifest+json");
    const manifest = await answer.json();
    assert.equal(manifest.display, "standalone");
    for (const { src, sizes } of manifest.icons) {
      const size = await anna.page.evaluate(async (src) => {
        const image = new Image();
        image.src = src;
        await image.decode();
        return `${image.naturalWidth}x${image.naturalHeight}`;
      }, src);
      assert.equal(size, sizes, src);
    }
    assert.ok(manifest.icons.some((icon) => icon.purpose === "maskable"));
  });

  it("opens without a network, and sends later what is written there", async () => {
    const { page } = anna;
    await page.reload();
    await anna.sees("In the garden");
    await anna.context.setOffline(true);
    await page.reload();
    await page
      .getByText("The server does not answer")
      .or(page.getByText("could not be loaded"))
      .first()
      .waitFor();
    await anna.context.setOffline(false);
    await anna.sees("In the garden");
  });

  it("shows what is pushed, and leads into the room", async () => {
    const { page } = anna;
    await page.goto("/#/settings");
    const cdp = await anna.context.newCDPSession(page);
    let registrationId;
    cdp.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => {
      registrationId = registrations.find(({ isDeleted }) => !isDeleted)?.registrationId ?? registrationId;
    });
    await cdp.send("ServiceWorker.enable");
    const push = (data) =>
      cdp.send("ServiceWorker.deliverPushMessage", {
        origin: server.origin,
        registrationId,
        data: JSON.stringify(data),
      });
    const pushBoth = async () => {
      await push({
        type: "message",
        room_id: room,
        room_name: "Garden",
        from: "Boris",
        text: "The roses are out",
        message_id: 1,
      });
      await push({ type: "call", room_id: room, room_name: "Boris", from: "Boris", text: "" });
    };
    const shown = () =>
      page.evaluate(async () => {
        const { getNotifications } = await navigator.serviceWorker.ready;
        const registration = await navigator.serviceWorker.ready;
        return (await getNotifications.call(registration)).map(({ title, body, tag }) => ({
          title,
          body,
          tag,
        }));
      });
    const expected = [
      { title: "Boris · Garden", body: "The roses are out", tag: `message-${room}` },
      { title: "Boris", body: "is calling", tag: `call-${room}` },
    ];
    // Chromium loses what is delivered to a worker that is just being replaced; one of a tag takes the place of another.
    await until("both are shown", async () => {
      if (registrationId !== undefined) await pushBoth();
      const value = await shown();
      return { done: value.length === 2, value };
    });
    const byTag = (a, b) => a.tag.localeCompare(b.tag);
    assert.deepEqual((await shown()).sort(byTag), expected.sort(byTag));

    // As the worker does when one is pressed.
    const [worker] = anna.context.serviceWorkers();
    await worker.evaluate((room) => {
      const event = new Event("notificationclick");
      Object.assign(event, { waitUntil: () => {}, notification: { close: () => {}, data: { room } } });
      self.clients.matchAll({ type: "window", includeUncontrolled: true }).then(([shown]) => {
        // A window may be focused only at a press.
        shown?.postMessage({ open: { room } });
      });
    }, room);
    await page.waitForURL(new RegExp(`#/room/${room}$`));
    await anna.leave();
  });
});
