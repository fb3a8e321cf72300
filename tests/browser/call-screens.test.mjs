// How calls look, in both themes and languages, wide and narrow, into `target/screenshots/`; that nothing sticks out at
// any usual width, and that axe-core finds nothing.

import { after, before, describe, it } from "node:test";
import { allConnected, control, keepConnections, tileOf, tilesPlay } from "./call-steps.mjs";
import { fits, isAccessible, launch, Person, Server } from "./harness.mjs";
import { NARROW, pictures, WIDE } from "./look.mjs";

/** Small windows are drawn by a machine without a graphics card in less time. */
const SMALL = { width: 480, height: 400 };

describe("calls look", () => {
  let server;
  let browser;
  let anna;
  let boris;
  const others = [];
  let link;

  async function arrive(name, options) {
    const person = await Person.arrive(browser, server, options);
    await person.context.addInitScript(keepConnections);
    await person.register(name, link);
    return person;
  }

  /** All ways to look at it, in one theme or both. */
  async function look(screen, people = [anna, boris]) {
    for (const person of people) {
      await pictures(person, `${screen}-${person === anna ? "dark" : "light"}`);
      await isAccessible(person, screen);
    }
    await fits(people[0], screen);
  }

  before(async () => {
    server = await Server.start();
    browser = await launch(["--use-fake-device-for-media-stream=fps=8"]);
    anna = await arrive("anna");
    await anna.makeRoom("Garden");
    link = await anna.invitationLink();
    boris = await arrive("boris", { colorScheme: "light" });
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  it("before one enters", async () => {
    await anna.page.getByRole("button", { name: "Video call" }).click();
    await boris.page.getByRole("button", { name: "Voice call" }).click();
    await anna.page.locator(".preview video").waitFor();
    await look("prejoin");
  });

  it("while the connection is checked", async () => {
    for (const { page } of [anna, boris]) {
      await page.getByRole("button", { name: "Check the connection" }).click();
      await page.getByRole("button", { name: "Check again" }).waitFor();
      await page.getByText("Show the result as text").click();
    }
    await look("check");
    for (const { page } of [anna, boris]) {
      await page.getByRole("dialog", { name: "Why" }).getByRole("button", { name: "Close" }).click();
    }
  });

  it("where devices are refused", async () => {
    const vera = await Person.arrive(browser, server);
    await vera.context.addInitScript(() => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));
    });
    await vera.register("refused", link);
    await vera.page.getByRole("button", { name: "Video call" }).click();
    await vera.page.getByText("The camera is not allowed.").waitFor();
    await pictures(vera, "prejoin-refused");
    await isAccessible(vera, "refused devices");
    await fits(vera, "refused devices");
    await vera.leave();
  });

  it("of one who waits, of two, and their settings", async () => {
    await anna.page.getByRole("button", { name: "Join the call" }).click();
    await anna.page.getByText("Nobody else is here yet.").waitFor();
    await look("call-1", [anna]);
    await boris.page.getByRole("button", { name: "Join the call" }).click();
    for (const person of [anna, boris]) await allConnected(person, 1);
    await control(boris, "Raise the hand").click();
    await tileOf(anna, "boris").getByText("hand raised").waitFor();
    await tilesPlay(anna, 1);
    await look("call-2");
    for (const { page } of [anna, boris]) {
      await page.getByRole("button", { name: "Call settings" }).click();
    }
    await look("call-settings");
    for (const { page } of [anna, boris]) {
      await page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
    }
    await tileOf(anna, "boris").hover();
    await anna.page.getByRole("button", { name: "Volume and connection: boris" }).click();
    await anna.page.getByText("The connection is").waitFor();
    await look("call-person", [anna]);
    await anna.page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
  });

  it("of three with a shared screen, push-to-talk, and somebody who asks", async () => {
    const vera = await arrive("vera");
    others.push(vera);
    await vera.enterCall("Video call");
    for (const person of [anna, boris, vera]) await allConnected(person, 2);
    await look("call-3");
    await control(vera, "Share the screen").click();
    await anna.page.locator(".tile.screen video").waitFor();
    await tilesPlay(anna, 3);
    await control(boris, "Mute the microphone").click();
    await tileOf(anna, "boris").getByText("microphone off").waitFor();
    await tileOf(anna, "boris").hover();
    await anna.page.getByRole("button", { name: "Volume and connection: boris" }).click();
    await anna.page.getByRole("button", { name: "Ask to unmute" }).click();
    await boris.page.getByText("anna asks you").waitFor();
    await control(anna, "Call settings").click();
    await anna.page.getByRole("switch", { name: "Push to talk" }).click();
    await anna.page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
    await look("call-screen");
    await pictures(vera, "call-own-screen");
    await control(vera, "Stop sharing").click();
  });

  it("of five", async () => {
    for (const name of ["gleb", "dina"]) {
      const person = await arrive(name);
      others.push(person);
      await person.page.setViewportSize(SMALL);
      await person.enterCall("Video call");
    }
    await allConnected(anna, 4);
    await look("call-5", [anna]);
    await pictures(boris, "call-5-light");
    await anna.page.setViewportSize(NARROW);
    await anna.page.getByRole("button", { name: "Enlarge the call" }).click();
    await anna.screenshot("call-5-enlarged");
    await fits(anna, "an enlarged call");
    await anna.page.setViewportSize(WIDE);
    await server.kill();
    await anna.page.getByRole("region", { name: "Call" }).getByText("No connection").waitFor();
    await anna.screenshot("call-5-no-server");
    await server.run();
    await anna.page
      .getByRole("region", { name: "Call" })
      .getByText("No connection")
      .waitFor({ state: "detached" });
    for (const person of others) await person.leave();
  });

  it("in Russian, and while one looks elsewhere", async () => {
    await boris.page.evaluate(() => localStorage.setItem("moznods.language", "ru"));
    await control(boris, "Leave the call").click();
    await boris.page.reload();
    await boris.page.getByRole("button", { name: "Видеозвонок" }).click();
    await boris.page.locator(".preview video").waitFor();
    await pictures(boris, "prejoin-russian");
    await fits(boris, "prejoin in Russian");
    await boris.page.getByRole("button", { name: "Проверить связь" }).click();
    await boris.page.getByRole("button", { name: "Проверить ещё раз" }).waitFor();
    await pictures(boris, "check-russian");
    await fits(boris, "the check in Russian");
    await boris.page.getByRole("dialog", { name: "Почему" }).getByRole("button", { name: "Закрыть" }).click();
    await boris.page.getByRole("button", { name: "Войти в звонок" }).click();
    await allConnected(boris, 1);
    await boris.page.getByRole("button", { name: "Настройки звонка" }).click();
    await pictures(boris, "call-settings-russian");
    await fits(boris, "settings in Russian");
    await boris.page.getByRole("dialog").getByRole("button", { name: "Закрыть" }).click();
    await fits(boris, "a call in Russian");
    await control(anna, "Leave the call").click();
  });

  it("that ring", async () => {
    await boris.page.getByRole("button", { name: "Выйти из звонка" }).click();
    await anna.page.reload();
    const direct = await anna.page.evaluate(async (username) => {
      const { token } = JSON.parse(localStorage.getItem("moznods.session"));
      const headers = { Authorization: `Token ${token}`, "Content-Type": "application/json" };
      const { results } = await (await fetch("/api/rooms/", { headers })).json();
      const { id } = results[0].participant_users.find((user) => user.username === username);
      const body = JSON.stringify({ user_id: id });
      return (await (await fetch("/api/rooms/direct/", { method: "POST", headers, body })).json()).id;
    }, "boris");
    await anna.page.goto(`/#/room/${direct}`);
    await anna.enterCall("Voice call");
    await boris.page.getByRole("alertdialog").waitFor();
    await look("ring", [boris]);
    await anna.page.getByText("Calling boris…").waitFor();
    await pictures(anna, "call-ringing");
    for (const person of [anna, boris]) await person.leave();
  });
});
