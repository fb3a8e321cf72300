// What tests of calls share: connections within reach of getStats, and what a person sees of the others.

import { until } from "./harness.mjs";

/** Runs in the page before its scripts: keeps the connections within reach, and counts how often one is lost. */
export function keepConnections() {
  const Native = window.RTCPeerConnection;
  window.connections = [];
  window.losses = 0;
  window.RTCPeerConnection = new Proxy(Native, {
    construct(target, parameters) {
      const connection = new target(...parameters);
      window.connections.push(connection);
      connection.addEventListener("connectionstatechange", () => {
        if (["disconnected", "failed"].includes(connection.connectionState)) window.losses++;
      });
      return connection;
    },
  });
}

/** Runs in the page before its scripts, behind `keepConnections`: the relay is the only way. */
export function relayOnly() {
  const Kept = window.RTCPeerConnection;
  window.RTCPeerConnection = new Proxy(Kept, {
    construct(target, [configuration, ...rest]) {
      return new target({ ...configuration, iceTransportPolicy: "relay" }, ...rest);
    },
  });
}

/** States of the connections that were ever made. */
export const connections = (person) =>
  person.page.evaluate(() => window.connections.map((connection) => connection.connectionState));

/** What each live connection has decoded and how large it is, by connection and track. */
export const pictures = (person) =>
  person.page.evaluate(async () => {
    const found = {};
    for (const [index, connection] of window.connections.entries()) {
      if (connection.connectionState === "closed") continue;
      for (const entry of (await connection.getStats()).values()) {
        if (entry.type !== "inbound-rtp" || entry.kind !== "video") continue;
        found[`${index} ${entry.trackIdentifier}`] = {
          frames: entry.framesDecoded ?? 0,
          height: entry.frameHeight ?? 0,
        };
      }
    }
    return found;
  });

/** That at least `count` pictures move at the same time. */
export async function seesMovement(person, count = 1) {
  const before = await pictures(person);
  return until(`${person.username} sees ${count} pictures move`, async () => {
    const now = await pictures(person);
    const moving = Object.keys(now).filter((key) => now[key].frames > (before[key]?.frames ?? 0) + 3);
    return { done: moving.length >= count, value: { before, now, connections: await connections(person) } };
  });
}

/** That the tiles with a picture are just so many, and each of them shows moving pictures. */
export async function tilesPlay(person, count) {
  const times = () =>
    person.page
      .locator(".tile video")
      .evaluateAll((videos) => videos.map((video) => [video.videoWidth, video.currentTime]));
  const before = await times();
  await until(`${count} tiles of ${person.username} play`, async () => {
    const value = await times();
    const plays = ([width, at], index) => width > 0 && at > (before[index]?.[1] ?? 0);
    return { done: value.length === count && value.every(plays), value };
  });
}

/** What each of the others' tiles says of the connection. */
export async function allConnected(person, count) {
  await until(`${person.username} is connected to ${count} others`, async () => {
    const value = await person.page
      .locator(".tile[data-link]")
      .evaluateAll((tiles) => tiles.map(({ dataset }) => dataset.link));
    const connected = value.every((link) => link === "direct" || link === "relayed");
    return { done: value.length === count && connected, value };
  });
}

export const tileOf = (person, name) => person.page.locator(".tile.person", { hasText: name });

export const control = (person, name) =>
  person.page.getByRole("toolbar", { name: "Call controls" }).getByRole("button", { name, exact: true });

/** What the senders of pictures are held to, one for each live connection. */
export const caps = (person) =>
  person.page.evaluate(() =>
    window.connections
      .filter((connection) => connection.connectionState === "connected")
      .map((connection) => {
        const sender = connection.getSenders().find(({ track }) => track?.kind === "video");
        const [encoding] = sender?.getParameters().encodings ?? [];
        return encoding?.maxBitrate ?? 0;
      }),
  );
