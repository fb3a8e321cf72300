// The whole path of the product: two people who meet by an invitation link, chat, and talk through this server's own
// relay; then the server dies, and what it had acknowledged is still there.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { launch, Person, RELAY_PORTS, Server, until } from "./harness.mjs";

/** Payload that both browsers together must have sent before the counters are compared. */
const COMPARED_BYTES = 1_500_000;
/**
 * What the relay's count may exceed the browsers'. A candidate pair's `bytesSent` leaves out the ICE connectivity
 * and consent checks (RFC 7675), while to the relay they are payload like any other: about 100 bytes a few times a
 * second on each pair of candidates, against some 100 kB of media in a second. Below one percent here; a slow machine
 * sends less media for as many checks.
 */
const CHECKS_SHARE = 0.04;
/** What may be between a browser's socket and the relay's counter at the moment of reading, and getStats' 50 ms cache. */
const IN_FLIGHT_SHARE = 0.01;

/** Runs in the page before its scripts: the relay is the only way, and connections stay within reach of getStats. */
function relayOnly() {
  const Native = window.RTCPeerConnection;
  window.connections = [];
  window.RTCPeerConnection = new Proxy(Native, {
    construct(target, [configuration, ...rest]) {
      const connection = new target({ ...configuration, iceTransportPolicy: "relay" }, ...rest);
      window.connections.push(connection);
      return connection;
    },
  });
}

/** What getStats says of the one connection that is in use. */
async function readStats(person) {
  return person.page.evaluate(async () => {
    const connection = window.connections.find((candidate) => candidate.connectionState === "connected");
    if (connection === undefined) {
      return { connected: false, states: window.connections.map((candidate) => candidate.connectionState) };
    }
    const report = await connection.getStats();
    const stats = [...report.values()];
    const transport = stats.find((entry) => entry.type === "transport");
    const pair = report.get(transport.selectedCandidatePairId);
    const inbound = (kind) => stats.find((entry) => entry.type === "inbound-rtp" && entry.kind === kind);
    return {
      connected: true,
      live: window.connections.filter((candidate) => candidate.connectionState !== "closed").length,
      local: report.get(pair.localCandidateId),
      sent: pair.bytesSent,
      received: pair.bytesReceived,
      audio: inbound("audio")?.bytesReceived ?? 0,
      video: inbound("video")?.bytesReceived ?? 0,
      frames: inbound("video")?.framesDecoded ?? 0,
    };
  });
}

async function relayed(server) {
  const [toPeer, toClient] = await Promise.all([
    server.metric("moznods_turn_relayed_bytes_total", 'direction="to_peer"'),
    server.metric("moznods_turn_relayed_bytes_total", 'direction="to_client"'),
  ]);
  return { toPeer, toClient };
}

/**
 * One reading of all counters. The server's are read before and after the browsers', so that a pair of readings gives
 * both a span that surely holds what the browsers counted and one that surely does not exceed it.
 */
async function reading(server, people) {
  const before = await relayed(server);
  const stats = await Promise.all(people.map(readStats));
  const after = await relayed(server);
  const sum = (name) => stats.reduce((total, entry) => total + (entry[name] ?? 0), 0);
  return { before, after, sent: sum("sent"), received: sum("received") };
}

function agrees(what, browsers, inner, outer) {
  const seen = `${what}: browsers ${browsers}, server between ${inner} and ${outer}`;
  assert.ok(outer >= browsers * (1 - IN_FLIGHT_SHARE), `${seen}: the server counted too little`);
  assert.ok(inner <= browsers * (1 + CHECKS_SHARE + IN_FLIGHT_SHARE), `${seen}: the server counted too much`);
}

describe("two people", () => {
  let server;
  let browser;
  let people;
  let anna;
  let boris;
  const said = [];

  const say = async (person, text) => {
    await person.say(text);
    said.push(text);
  };

  before(async () => {
    server = await Server.start();
    browser = await launch();
    anna = await Person.arrive(browser, server);
    boris = await Person.arrive(browser, server);
    people = [anna, boris];
    for (const person of people) await person.context.addInitScript(relayOnly);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  it("meet by an invitation link, which outlives the registration", async () => {
    await anna.register("anna");
    await anna.makeRoom("Garden");
    const link = await anna.invitationLink();
    assert.match(link, new RegExp(`^${server.origin}/#/join/[0-9a-f-]{36}$`));
    await boris.register("boris", link);
    await boris.page.getByRole("heading", { name: "Garden", exact: true }).waitFor();
  });

  it("read each other at once", async () => {
    await say(anna, "Hello, Boris");
    await boris.sees("Hello, Boris");
    await say(boris, "Hello, Anna <b>&amp;</b>");
    await anna.sees("Hello, Anna <b>&amp;</b>");
  });

  it("see in the list of rooms who is in the call, and join", async () => {
    await anna.enterCall("Video call");
    await boris.page.getByRole("navigation", { name: "Rooms" }).getByText("anna").waitFor();
    await boris.enterCall("Video call");
    for (const person of people) {
      await until(`${person.username} is connected`, async () => {
        const value = await readStats(person);
        return { done: value.connected, value };
      });
    }
  });

  it("talk through the relay of this server", async () => {
    for (const person of people) {
      const { local, live } = await readStats(person);
      const seen = `${person.username}: ${JSON.stringify(local)}`;
      assert.equal(local.candidateType, "relay", seen);
      assert.equal(local.address, "127.0.0.1", seen);
      assert.ok(local.port >= RELAY_PORTS.first && local.port <= RELAY_PORTS.last, seen);
      assert.match(local.url, new RegExp(`^turn:127\\.0\\.0\\.1:${server.turnPort}\\b`), seen);
      assert.equal(live, 1, `${person.username} has one connection`);
      await person.page.getByText("through the relay").waitFor();
    }
    const allocations = await server.metric("moznods_turn_allocations");
    assert.ok(allocations >= 2, `${allocations} allocations`);
  });

  it("hear and see each other", async () => {
    for (const person of people) {
      const first = await readStats(person);
      await until(`audio, video and frames of ${person.username} grow`, async () => {
        const now = await readStats(person);
        const done = now.audio > first.audio && now.video > first.video && now.frames > first.frames + 10;
        return { done, value: { first, now } };
      });
      const picture = person.page.locator(".tile video:not(.mirrored)");
      await until(`${person.username} sees a picture and gets sound`, async () => {
        const value = await person.page.evaluate(() => {
          const video = document.querySelector(".tile video:not(.mirrored)");
          const audio = document.querySelector("audio");
          return {
            width: video?.videoWidth,
            at: video?.currentTime,
            sounding: audio !== null && !audio.paused,
          };
        });
        return { done: value.width > 0 && value.at > 0 && value.sounding, value };
      });
      await picture.waitFor();
    }
  });

  it("are counted by the server as by themselves", async () => {
    const first = await reading(server, people);
    const last = await until(`${COMPARED_BYTES} bytes are sent`, async () => {
      const value = await reading(server, people);
      return {
        done:
          value.sent - first.sent >= COMPARED_BYTES && value.received - first.received >= COMPARED_BYTES / 2,
        value,
      };
    });
    const span = (name) => [last.before[name] - first.after[name], last.after[name] - first.before[name]];
    agrees("to peers", last.sent - first.sent, ...span("toPeer"));
    agrees("to clients", last.received - first.received, ...span("toClient"));
  });

  it("see who is muted and whose camera is off, and write meanwhile", async () => {
    await anna.page.getByRole("button", { name: "Mute the microphone" }).click();
    const tile = boris.page.locator(".tile", { hasText: "anna" });
    await tile.getByText("microphone off").waitFor();
    await anna.page.getByRole("button", { name: "Turn the camera off" }).click();
    await tile.getByText("camera off").waitFor();
    await say(anna, "I have switched everything off");
    await boris.sees("I have switched everything off");
    await anna.page.getByRole("button", { name: "Turn the camera on" }).click();
    await anna.page.getByRole("button", { name: "Unmute the microphone" }).click();
    await tile.locator("video").waitFor();
    await until("Boris sees Anna's camera again", async () => {
      const first = await readStats(boris);
      await boris.page.evaluate(() => new Promise(requestAnimationFrame));
      const now = await readStats(boris);
      return { done: now.frames > first.frames, value: now };
    });
  });

  it("are connected through the relay again after the server was killed in mid-call", async () => {
    await server.kill();
    for (const person of people) await person.page.locator('.tile[data-link="lost"]').waitFor();
    await server.run();
    for (const person of people) {
      await person.page.locator('.tile[data-link="relayed"]').waitFor();
      const first = await readStats(person);
      await until(`${person.username} receives frames`, async () => {
        const now = await readStats(person);
        return { done: now.frames > first.frames + 5 && now.live === 1, value: { first, now } };
      });
    }
  });

  it("see each other leave", async () => {
    await anna.page.getByRole("button", { name: "Leave the call" }).click();
    await boris.page.locator(".tile", { hasText: "anna" }).waitFor({ state: "detached" });
    await boris.page.getByRole("button", { name: "Leave the call" }).click();
    for (const person of people) {
      await until(`no connection of ${person.username} is left open`, async () => {
        const value = await person.page.evaluate(() =>
          window.connections.map((connection) => connection.signalingState),
        );
        return { done: value.every((state) => state === "closed"), value };
      });
    }
    await until("the allocations are given back", async () => {
      const value = await server.metric("moznods_turn_allocations");
      return { done: value === 0, value };
    });
  });

  it("find every acknowledged message after the server was killed", async () => {
    for (let number = 1; number <= 20; number++)
      await say(number % 2 === 0 ? anna : boris, `Message ${number}`);
    await server.kill();
    for (const person of people) await person.page.getByText("No connection to the server").first().waitFor();
    await server.run();
    for (const person of people) {
      await person.page.getByText("No connection to the server").first().waitFor({ state: "detached" });
      for (const text of said) await person.sees(text);
      await person.page.reload();
      for (const text of said) await person.sees(text);
    }
    await say(boris, "Still here");
    await anna.sees("Still here");
    for (const person of people) await person.leave();
  });
});
