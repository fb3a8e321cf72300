// Chromium's own TURN client, over each transport and address family: two connections that may use the relay alone
// exchange sound and a picture. Prints a table of what came through.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { freePort, launch, Person, Server, until } from "./harness.mjs";

/** Payload of media that has to be received before a way counts as good. */
const MEDIA_BYTES = 200_000;
const FRAMES = 30;

/** Runs in the page: a call of two connections that know this TURN server and nothing else. */
async function call(iceServer) {
  const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  const ends = [0, 1].map(
    () => new RTCPeerConnection({ iceServers: [iceServer], iceTransportPolicy: "relay" }),
  );
  window.ends = ends;
  window.errors = [];
  for (const [here, there] of [ends, [...ends].reverse()]) {
    here.onicecandidate = ({ candidate }) => candidate && there.addIceCandidate(candidate);
    here.onicecandidateerror = ({ errorCode, errorText }) => window.errors.push([errorCode, errorText]);
    for (const track of media.getTracks()) here.addTrack(track, media);
  }
  const [one, other] = ends;
  await one.setLocalDescription();
  await other.setRemoteDescription(one.localDescription);
  await other.setLocalDescription();
  await one.setRemoteDescription(other.localDescription);
}

/** Runs in the page: what each end has received, and by what it is relayed. */
async function figures() {
  const read = async (connection) => {
    const report = await connection.getStats();
    const stats = [...report.values()];
    const pair = report.get(stats.find((entry) => entry.type === "transport")?.selectedCandidatePairId);
    const inbound = stats.filter((entry) => entry.type === "inbound-rtp");
    const sum = (name) => inbound.reduce((total, entry) => total + (entry[name] ?? 0), 0);
    return {
      state: connection.connectionState,
      local: pair && report.get(pair.localCandidateId),
      sent: pair?.bytesSent ?? 0,
      bytes: sum("bytesReceived"),
      packets: sum("packetsReceived"),
      lost: sum("packetsLost"),
      frames: sum("framesDecoded"),
    };
  };
  return { errors: window.errors, ends: await Promise.all(window.ends.map(read)) };
}

/** A self-signed certificate of this directory and its key. */
async function makeCertificate(directory) {
  const [certificate, key] = ["cert.pem", "key.pem"].map((name) => join(directory, name));
  const request = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split(" ");
  await promisify(execFile)("openssl", [...request, "-keyout", key, "-out", certificate]);
  return { "turn-tls-cert": certificate, "turn-tls-key": key };
}

describe("Chromium relays media", () => {
  const rows = [];
  let directory;
  let server;
  let browser;
  let page;
  let ports;
  let credential;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "moznods-transports-"));
    ports = { plain: await freePort(), tls: await freePort() };
    server = await Server.start({
      "turn-listen": `[::]:${ports.plain}`,
      "turn-tls-listen": `[::]:${ports.tls}`,
      ...(await makeCertificate(directory)),
    });
    // WebRTC's TLS asks Chromium's network service about certificates, as a page's does.
    browser = await launch(["--ignore-certificate-errors"]);
    const person = await Person.arrive(browser, server);
    await person.register("anna");
    ({ page } = person);
    credential = await page.evaluate(async () => {
      const { token } = JSON.parse(localStorage.getItem("moznods.session"));
      const answer = await fetch("/api/turn/credentials/", { headers: { Authorization: `Token ${token}` } });
      return answer.json();
    });
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
    await rm(directory, { recursive: true, force: true });
    const table = [
      "| Chromium | relayed by | received | lost | frames |",
      "|---|---|---|---|---|",
      ...rows,
      "",
    ];
    console.log(table.join("\n"));
  });

  for (const host of ["127.0.0.1", "[::1]"]) {
    for (const [protocol, way] of Object.entries({
      udp: (to) => `turn:${to}:${ports.plain}?transport=udp`,
      tcp: (to) => `turn:${to}:${ports.plain}?transport=tcp`,
      tls: (to) => `turns:${to}:${ports.tls}?transport=tcp`,
    })) {
      it(`by ${protocol} at ${host}`, async () => {
        const urls = way(host);
        const relayed = () => server.metric("moznods_turn_relayed_bytes_total", 'direction="to_peer"');
        const before = await relayed();
        await page.evaluate(call, { urls, username: credential.username, credential: credential.password });
        const { ends } = await until(`media flows by ${urls}`, async () => {
          const value = await page.evaluate(figures);
          const flows = ({ bytes, frames }) => bytes >= MEDIA_BYTES && frames >= FRAMES;
          return { done: value.ends.every(flows), value };
        });
        const counted = (await relayed()) - before;
        await page.evaluate(() => {
          for (const connection of window.ends) connection.close();
        });
        for (const end of ends) {
          assert.equal(end.local.candidateType, "relay");
          assert.equal(end.local.relayProtocol, protocol);
          assert.equal(end.local.url, urls);
          assert.equal(end.lost, 0, JSON.stringify(end));
        }
        const sent = ends.reduce((sum, end) => sum + end.sent, 0);
        assert.ok(counted >= sent, `the browser sent ${sent} bytes, the server counted ${counted}`);
        const [bytes, frames, packets] = ["bytes", "frames", "packets"].map((name) =>
          ends.reduce((sum, end) => sum + end[name], 0),
        );
        rows.push(`| ${urls} | ${protocol} | ${bytes} B in ${packets} packets | 0 | ${frames} |`);
      });
    }
  }
});
