// A call outlives its network: ten seconds without any, another one, relay credentials that expire, a server that starts
// again. All media goes through the relay, and one of the two reaches the server by a network that can be cut.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { allConnected, connections, keepConnections, relayOnly, seesMovement } from "./call-steps.mjs";
import { CuttableNetwork } from "./cuttable.mjs";
import { launch, Person, Server, until } from "./harness.mjs";

/** The least that the server allows, in seconds. */
const CREDENTIAL_TTL = 60;
const NO_NETWORK_MS = 10_000;

/** Runs in the page before its scripts: the relay is reached through the network that can be cut. */
function relayBy(port) {
  const Kept = window.RTCPeerConnection;
  const moved = (configuration) => ({
    ...configuration,
    iceServers: configuration.iceServers.map((server) => ({
      ...server,
      urls: [server.urls].flat().map((url) => url.replace(/(turn:127\.0\.0\.1:)\d+/, `$1${port}`)),
    })),
  });
  window.RTCPeerConnection = new Proxy(Kept, {
    construct(target, [configuration, ...rest]) {
      const connection = new target(moved(configuration), ...rest);
      const set = connection.setConfiguration.bind(connection);
      connection.setConfiguration = (next) => set(moved(next));
      return connection;
    },
  });
}

/** Another one after each ICE restart (RFC 8445 §9). */
const usedPath = (person) =>
  person.page.evaluate(async () => {
    const connection = window.connections.find(({ connectionState }) => connectionState === "connected");
    const stats = await connection?.getStats();
    const transport = stats && [...stats.values()].find((entry) => entry.type === "transport");
    const pair = stats?.get(transport?.selectedCandidatePairId);
    return stats?.get(pair?.localCandidateId)?.usernameFragment ?? null;
  });

async function takesAnotherPath(person, before) {
  await until(`${person.username} has another path`, async () => {
    const value = await usedPath(person);
    return { done: value !== null && value !== before, value };
  });
}

const losses = (person) => person.page.evaluate(() => window.losses);

describe("a call through the relay", () => {
  let server;
  let browser;
  let network;
  let anna;
  let boris;
  let began;

  before(async () => {
    server = await Server.start({
      "turn-strict-expiry": "true",
      "turn-credential-ttl": String(CREDENTIAL_TTL),
    });
    network = await CuttableNetwork.before(server);
    browser = await launch(["--use-fake-device-for-media-stream=fps=8"]);
    anna = await Person.arrive(browser, server);
    boris = await Person.arrive(browser, { origin: network.origin, inviteCode: () => server.inviteCode() });
    for (const person of [anna, boris]) {
      await person.context.addInitScript(keepConnections);
      await person.context.addInitScript(relayOnly);
    }
    await boris.context.addInitScript(relayBy, network.turnPort);
    await anna.register("anna");
    await anna.makeRoom("Garden");
    const link = await anna.invitationLink();
    await boris.register("boris", link.replace(server.origin, network.origin));
    for (const person of [anna, boris]) await person.enterCall("Video call");
    for (const person of [anna, boris]) await allConnected(person, 1);
    began = Date.now();
    await Promise.all([seesMovement(anna), seesMovement(boris)]);
  });
  after(async () => {
    await browser?.close();
    await network?.close();
    await server?.stop();
  });

  /** Both see each other move again, over the connections that they had. */
  async function goesOn() {
    await Promise.all([seesMovement(anna), seesMovement(boris)]);
    for (const person of [anna, boris]) {
      assert.deepEqual(await connections(person), ["connected"], person.username);
      await person.page.getByText("No connection to the server").waitFor({ state: "detached" });
    }
  }

  it("is not ended by ten seconds without network", async () => {
    network.cut();
    const lost = anna.page.locator('.tile[data-link="lost"]', { hasText: "boris" });
    const cutAt = Date.now();
    await lost.waitFor();
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, cutAt + NO_NETWORK_MS - Date.now())));
    assert.equal(await lost.count(), 1, "Anna still has his tile");
    network.restore();
    await goesOn();
  });

  it("finds new ways from another network", async () => {
    const path = await usedPath(boris);
    // As many connections as a browser keeps to a server: all die of the move, and it is not told.
    await boris.page.evaluate(() =>
      Promise.all([1, 2, 3, 4, 5, 6].map((n) => fetch(`/api/config/?${n}`).then((answer) => answer.text()))),
    );
    network.move();
    // As a phone's browser does when it leaves the house.
    await boris.page.evaluate(() => window.dispatchEvent(new Event("online")));
    await takesAnotherPath(boris, path);
    await goesOn();
  });

  it("goes on when the server has started again", async () => {
    await server.kill();
    await server.run();
    await goesOn();
  });

  it("outlives the credentials that it began with, over the same connections", async (test) => {
    const path = await usedPath(anna);
    const before = await Promise.all([anna, boris].map(losses));
    await takesAnotherPath(anna, path);
    const left = began + (CREDENTIAL_TTL + 5) * 1000 - Date.now();
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, left)));
    await goesOn();
    const after = await Promise.all([anna, boris].map(losses));
    test.diagnostic(`connections lost before and after: ${before}; ${after}`);
    assert.deepEqual(after, before, "connections lost meanwhile");
    for (const person of [anna, boris]) await person.leave();
  });
});
