// Calls of two and three people, and all that one can do in them.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  allConnected,
  caps,
  control,
  keepConnections,
  pictures,
  seesMovement,
  tileOf,
  tilesPlay,
} from "./call-steps.mjs";
import { launch, Person, Server, until } from "./harness.mjs";

describe("a call", () => {
  let server;
  let browser;
  let link;
  const people = [];
  const [anna, boris, vera] = [() => people[0], () => people[1], () => people[2]];

  async function arrive(username) {
    const person = await Person.arrive(browser, server);
    await person.context.addInitScript(keepConnections);
    await person.register(username, link);
    if (link === undefined) {
      await person.makeRoom("Garden");
      link = await person.invitationLink();
    }
    people.push(person);
    return person;
  }

  before(async () => {
    server = await Server.start();
    browser = await launch(["--use-fake-device-for-media-stream=device-count=3,fps=8"]);
    for (const name of ["anna", "boris", "vera"]) await arrive(name);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  it("of two who enter at the same moment plays on both sides", async () => {
    await Promise.all([anna(), boris()].map((person) => person.enterCall("Video call")));
    for (const person of [anna(), boris()]) {
      await allConnected(person, 1);
      await tilesPlay(person, 2);
    }
  });

  it("shows who speaks", async () => {
    // Chromium's false microphone beeps once a second.
    await tileOf(anna(), "boris").and(anna().page.locator(".speaking")).waitFor();
    await control(boris(), "Mute the microphone").click();
    await tileOf(anna(), "boris").getByText("microphone off").waitFor();
    await tileOf(anna(), "boris").and(anna().page.locator(":not(.speaking)")).waitFor();
    await control(boris(), "Unmute the microphone").click();
  });

  it("says in words how the connection is, and keeps how loud somebody is to be", async () => {
    const { page } = anna();
    const open = async () => {
      await tileOf(anna(), "boris").hover();
      await page.getByRole("button", { name: "Volume and connection: boris" }).click();
    };
    await open();
    const dialog = page.getByRole("dialog");
    await dialog.getByText("The connection is good.").waitFor();
    await dialog.getByText("direct, from device to device").waitFor();
    await dialog.getByText(/^\d+ ms$/).waitFor();
    await dialog.getByLabel("Volume: boris").fill("0.3");
    const volume = () => page.evaluate(() => document.querySelector("audio").volume);
    await until("Boris is heard less", async () => ({ done: (await volume()) === 0.3 }));
    await dialog.getByRole("button", { name: "Close" }).click();
    await control(anna(), "Leave the call").click();
    await tileOf(boris(), "anna").waitFor({ state: "detached" });
    await anna().enterCall("Video call");
    await allConnected(anna(), 1);
    await until("the volume is as it was", async () => ({ done: (await volume()) === 0.3 }));
    await open();
    await dialog.getByRole("button", { name: "Do not hear" }).click();
    await until("Boris is not heard", async () => ({
      done: await page.evaluate(() => document.querySelector("audio").muted),
    }));
    await dialog.getByRole("button", { name: "Hear again" }).click();
    await dialog.getByRole("button", { name: "Close" }).click();
  });

  it("shows a shared screen on a large tile of its own, more than once", async () => {
    for (let time = 0; time < 2; time++) {
      await control(boris(), "Share the screen").click();
      await boris().page.getByText("The others see your screen.").waitFor();
      const screen = anna().page.locator(".tile.screen.large", { hasText: "Screen: boris" });
      await screen.locator("video").waitFor();
      await tilesPlay(anna(), 3);
      await seesMovement(anna(), 2);
      // Beside Boris himself, not in his place.
      await tileOf(anna(), "boris").locator("video").waitFor();
      await boris().page.getByRole("button", { name: "Stop sharing" }).first().click();
      await screen.waitFor({ state: "detached" });
    }
  });

  it("shows a screen to one who comes later", async () => {
    await control(boris(), "Share the screen").click();
    await vera().enterCall("Video call");
    await vera().page.locator(".tile.screen.large", { hasText: "Screen: boris" }).locator("video").waitFor();
    await allConnected(vera(), 2);
    await tilesPlay(vera(), 4);
    await control(boris(), "Stop sharing").click();
    await vera().page.locator(".tile.screen").waitFor({ state: "detached" });
  });

  it("of three plays on all sides, and each is sent less than in a call of two", async () => {
    for (const person of [anna(), boris(), vera()]) {
      await allConnected(person, 2);
      await tilesPlay(person, 3);
      await until(`what ${person.username} sends is held to less`, async () => {
        const value = await caps(person);
        return { done: value.length === 2 && value.every((cap) => cap > 0 && cap <= 900_000), value };
      });
    }
  });

  it("shows large whom one chooses", async () => {
    await tileOf(anna(), "vera").hover();
    await anna().page.getByRole("button", { name: "Show large: vera" }).click();
    await anna().page.locator(".tile.person.large", { hasText: "vera" }).waitFor();
    await tilesPlay(anna(), 3);
    await anna().page.getByRole("button", { name: "Show all alike" }).click();
    await anna().page.locator(".tile.large").waitFor({ state: "detached" });
  });

  it("tells the others of a raised hand", async () => {
    await control(vera(), "Raise the hand").click();
    await anna().page.getByText("vera has raised a hand.").waitFor();
    await tileOf(boris(), "vera").getByText("hand raised").waitFor();
    await control(vera(), "Lower the hand").click();
    await tileOf(boris(), "vera").getByText("hand raised").waitFor({ state: "detached" });
  });

  it("lets the owner ask somebody to unmute, who may or may not", async () => {
    await control(boris(), "Mute the microphone").click();
    await tileOf(anna(), "boris").getByText("microphone off").waitFor();
    for (const answer of ["Not now", "Unmute the microphone"]) {
      await tileOf(anna(), "boris").hover();
      await anna().page.getByRole("button", { name: "Volume and connection: boris" }).click();
      await anna().page.getByRole("button", { name: "Ask to unmute" }).click();
      const asked = boris().page.getByRole("alert").filter({ hasText: "anna asks you to unmute" });
      await asked.getByRole("button", { name: answer }).click();
      await asked.waitFor({ state: "detached" });
    }
    await tileOf(anna(), "boris").getByText("microphone off").waitFor({ state: "detached" });
    // Who does not own the room is not offered it.
    await control(anna(), "Mute the microphone").click();
    await tileOf(boris(), "anna").getByText("microphone off").waitFor();
    await tileOf(boris(), "anna").hover();
    await boris().page.getByRole("button", { name: "Volume and connection: anna" }).click();
    await boris().page.getByRole("dialog").getByText("The connection is good.").waitFor();
    assert.equal(await boris().page.getByRole("button", { name: "Ask to unmute" }).count(), 0);
    await boris().page.getByRole("button", { name: "Close" }).last().click();
    await control(anna(), "Unmute the microphone").click();
  });

  it("is heard by push-to-talk only while the key is down", async () => {
    const { page } = vera();
    const off = tileOf(boris(), "vera").getByText("microphone off");
    await control(vera(), "Call settings").click();
    await page.getByRole("switch", { name: "Push to talk" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
    await off.waitFor();
    await page.locator(".tiles").click();
    await page.keyboard.down("Space");
    await off.waitFor({ state: "detached" });
    await page.keyboard.up("Space");
    await off.waitFor();
    // In a text the key is a letter.
    await page.getByRole("textbox", { name: "Write a message" }).focus();
    await page.keyboard.type("a b");
    assert.equal(await page.getByRole("textbox", { name: "Write a message" }).inputValue(), "a b");
    const button = await page.getByRole("button", { name: "Hold to talk" }).boundingBox();
    await page.mouse.move(button.x + button.width / 2, button.y + button.height / 2);
    await page.mouse.down();
    await off.waitFor({ state: "detached" });
    await page.mouse.up();
    await off.waitFor();
    await control(vera(), "Call settings").click();
    await page.getByRole("switch", { name: "Push to talk" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
    await off.waitFor({ state: "detached" });
  });

  it("goes on with another camera and microphone, and when one is unplugged", async () => {
    const { page } = boris();
    const sent = () =>
      page.evaluate(() =>
        Object.fromEntries(
          window.connections
            .find(({ connectionState }) => connectionState === "connected")
            .getSenders()
            .filter(({ track }) => track !== null)
            .map(({ track }) => [track.kind, { label: track.label, ...track.getSettings() }]),
        ),
      );
    const before = await sent();
    await control(boris(), "Call settings").click();
    for (const [label, kind] of [
      ["Camera", "video"],
      ["Microphone", "audio"],
    ]) {
      const select = page.getByLabel(label, { exact: true });
      const labels = await select.locator("option").allTextContents();
      // Chromium's second false camera is one for depth, which browsers do not show.
      const other = labels.findLast((text) => text !== "System default" && text !== before[kind].label);
      await select.selectOption({ label: other });
      await until(`the other ${label} is sent`, async () => {
        const value = await sent();
        return { done: value[kind]?.label === other, value };
      });
    }
    assert.equal((await sent()).audio.noiseSuppression, true);
    await page.getByRole("switch", { name: "Suppress noise" }).click();
    await until("noise is not suppressed any more", async () => {
      const value = await sent();
      return { done: value.audio?.noiseSuppression === false, value };
    });
    await page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
    await seesMovement(anna(), 2);
    await page.evaluate(() => {
      const [connection] = window.connections.filter(
        ({ connectionState }) => connectionState === "connected",
      );
      const { track } = connection.getSenders().find((sender) => sender.track?.kind === "video");
      window.unplugged = track;
      track.dispatchEvent(new Event("ended"));
    });
    await until("another camera takes its place", async () => {
      const value = await page.evaluate(() =>
        window.connections
          .filter(({ connectionState }) => connectionState === "connected")
          .flatMap((connection) => connection.getSenders())
          .filter(({ track }) => track?.kind === "video")
          .map(({ track }) => [track.readyState, track !== window.unplugged]),
      );
      return {
        done: value.length === 2 && value.every(([state, isOther]) => state === "live" && isOther),
        value,
      };
    });
    await seesMovement(anna(), 2);
  });

  it("sends and receives small pictures where somebody saves data", async () => {
    await control(vera(), "Call settings").click();
    await vera().page.getByRole("switch", { name: "Save data" }).click();
    await vera().page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
    await until("pictures from and to Vera become small", async () => {
      const [mine, annas] = [await pictures(vera()), await pictures(anna())];
      const heights = Object.values(mine).map(({ height }) => height);
      const small = (list) => list.filter((height) => height > 0 && height <= 240).length;
      const value = { heights, annas: Object.values(annas).map(({ height }) => height) };
      return { done: small(heights) === 2 && small(value.annas) === 1, value };
    });
    await control(vera(), "Call settings").click();
    await vera().page.getByRole("switch", { name: "Save data" }).click();
    await vera().page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
  });

  it("fills the screen", async () => {
    await control(anna(), "Full screen").click();
    await control(anna(), "Leave full screen").waitFor();
    assert.equal(
      await anna().page.evaluate(() => document.fullscreenElement?.className.includes("call")),
      true,
    );
    await control(anna(), "Leave full screen").click();
    await control(anna(), "Full screen").waitFor();
    await tileOf(anna(), "boris").hover();
    await tileOf(anna(), "boris").getByRole("button", { name: "Full screen" }).click();
    await until("a tile fills the screen", async () => {
      const value = await anna().page.evaluate(() => document.fullscreenElement?.className);
      return { done: value?.includes("tile") === true, value };
    });
    await anna().page.evaluate(() => document.exitFullscreen());
  });

  it("lets a picture float above other windows", async () => {
    await tileOf(anna(), "boris").hover();
    await tileOf(anna(), "boris").getByRole("button", { name: "Picture in picture" }).click();
    const floating = () =>
      anna().page.evaluate(() => document.pictureInPictureElement?.closest(".tile")?.textContent ?? null);
    await until("Boris floats", async () => {
      const value = await floating();
      return { done: value?.includes("boris") === true, value };
    });
    await tileOf(anna(), "boris").getByRole("button", { name: "Picture in picture" }).click();
    await until("he does not any more", async () => ({ done: (await floating()) === null }));
  });

  it("ends for all without a complaint of any page", async () => {
    for (const person of people) await person.leave();
  });
});
