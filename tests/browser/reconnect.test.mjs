// What survives: a conversation whose line to the server breaks, a reloaded page, a refused microphone.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { launch, Person, Server, until } from "./harness.mjs";

/** Runs in the page before its scripts: keeps the connections within reach. */
function keepConnections() {
  const Native = window.RTCPeerConnection;
  window.connections = [];
  window.RTCPeerConnection = new Proxy(Native, {
    construct(target, parameters) {
      const connection = new target(...parameters);
      window.connections.push(connection);
      return connection;
    },
  });
}

/** Runs in the page before its scripts: a user who says no. */
function refuseMedia() {
  navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("refused", "NotAllowedError"));
}

const connections = (person) =>
  person.page.evaluate(() => window.connections.map((connection) => connection.connectionState));

const frames = (person) =>
  person.page.evaluate(async () => {
    let decoded = 0;
    for (const connection of window.connections) {
      for (const entry of (await connection.getStats()).values()) {
        if (entry.type === "inbound-rtp" && entry.kind === "video") decoded += entry.framesDecoded;
      }
    }
    return decoded;
  });

async function seesMovement(person) {
  const before = await frames(person);
  await until(`${person.username} receives frames`, async () => {
    const now = await frames(person);
    return { done: now > before + 5, value: { before, now, connections: await connections(person) } };
  });
}

describe("a call", () => {
  let server;
  let browser;
  let anna;
  let boris;
  let link;
  before(async () => {
    server = await Server.start();
    browser = await launch();
    anna = await Person.arrive(browser, server);
    boris = await Person.arrive(browser, server);
    for (const person of [anna, boris]) await person.context.addInitScript(keepConnections);
    await anna.register("anna");
    await anna.makeRoom("Garden");
    link = await anna.invitationLink();
    await boris.register("boris", link);
    await anna.enterCall("Video call");
    await boris.enterCall("Video call");
    await Promise.all([seesMovement(anna), seesMovement(boris)]);
    // Not by way of the server that is going to be killed.
    for (const person of [anna, boris]) await person.page.locator('.tile[data-link="direct"]').waitFor();
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  it("goes on over the same connection while the server is away and after", async () => {
    await server.kill();
    const lost = (person) =>
      person.page.getByRole("region", { name: "Call" }).getByText("No connection to the server");
    for (const person of [anna, boris]) await lost(person).waitFor();
    await Promise.all([seesMovement(anna), seesMovement(boris)]);
    await server.run();
    for (const person of [anna, boris]) {
      await lost(person).waitFor({ state: "detached" });
      assert.equal(await person.page.locator(".tile").count(), 2, `${person.username} sees both`);
    }
    await Promise.all([seesMovement(anna), seesMovement(boris)]);
    for (const person of [anna, boris])
      assert.deepEqual(await connections(person), ["connected"], person.username);
  });

  it("takes back one who has reloaded the page", async () => {
    await boris.page.reload();
    await anna.page.locator(".tile", { hasText: "boris" }).waitFor({ state: "detached" });
    await boris.enterCall("Video call");
    await Promise.all([seesMovement(anna), seesMovement(boris)]);
    assert.deepEqual(await connections(anna), ["closed", "connected"]);
  });

  it("moves with its user to another window", async () => {
    const second = await boris.context.newPage();
    await second.goto(boris.page.url());
    await boris.enterCall("Voice call", second);
    await boris.page.getByText("The call goes on in another window").waitFor();
    const tile = anna.page.locator(".tile", { hasText: "boris" });
    await tile.getByText("camera off").waitFor();
    await tile.and(anna.page.locator('[data-link="direct"], [data-link="relayed"]')).waitFor();
    await until("the second window hears Anna", async () => {
      const value = await second.evaluate(() =>
        window.connections.map((connection) => connection.connectionState),
      );
      return { done: value.includes("connected"), value };
    });
    await second.close();
    await tile.waitFor({ state: "detached" });
  });

  it("lets a third listen whose microphone is refused, and says why", async () => {
    await boris.enterCall("Voice call");
    const vera = await Person.arrive(browser, server);
    await vera.context.addInitScript(keepConnections);
    await vera.context.addInitScript(refuseMedia);
    await vera.register("vera", link);
    await vera.page.getByRole("button", { name: "Video call" }).click();
    const before = vera.page.getByRole("dialog");
    await before.getByText("The microphone is not allowed.").waitFor();
    await before.getByText("The camera is not allowed.").waitFor();
    await before.getByText("press the sign beside the address").first().waitFor();
    await before.getByRole("button", { name: "Join the call" }).click();
    await seesMovement(vera);
    for (const person of [anna, boris, vera]) {
      await until(`${person.username} is connected to both others`, async () => {
        const value = await person.page
          .locator(".tile[data-link]")
          .evaluateAll((tiles) => tiles.map(({ dataset }) => dataset.link));
        return {
          done: value.length === 2 && value.every((link) => link === "direct" || link === "relayed"),
          value,
        };
      });
    }
    const tile = anna.page.locator(".tile", { hasText: "vera" });
    await tile.getByText("microphone off").waitFor();
    await tile.getByText("camera off").waitFor();
    await vera.leave();
    await tile.waitFor({ state: "detached" });
    for (const person of [anna, boris]) await person.leave();
  });
});
