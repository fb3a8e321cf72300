// "Why can't I be heard?": the connection check, where all is well and where something is not.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { control } from "./call-steps.mjs";
import { freePort, launch, Person, Server } from "./harness.mjs";

async function makeCertificate(directory) {
  const [certificate, key] = ["cert.pem", "key.pem"].map((name) => join(directory, name));
  const request = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split(" ");
  await promisify(execFile)("openssl", [...request, "-keyout", key, "-out", certificate]);
  return { "turn-tls-cert": certificate, "turn-tls-key": key };
}

const STEPS = ["microphone", "camera", "server", "socket", "stun", "udp", "tcp", "tls"];

describe("the connection check", () => {
  let directory;
  let server;
  let browser;
  let anna;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "moznods-check-"));
    server = await Server.start({
      "turn-tls-listen": `127.0.0.1:${await freePort()}`,
      ...(await makeCertificate(directory)),
    });
    browser = await launch(["--ignore-certificate-errors", "--use-fake-device-for-media-stream=fps=8"]);
    anna = await Person.arrive(browser, server);
    await anna.context.grantPermissions(["camera", "microphone", "clipboard-read", "clipboard-write"]);
    await anna.register("anna");
    await anna.makeRoom("Garden");
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  const dialogOf = (person) => person.page.getByRole("dialog", { name: "Why can't I be heard?" });

  async function findings(person) {
    const dialog = dialogOf(person);
    await dialog.getByRole("button", { name: "Check again" }).waitFor();
    const found = {};
    for (const step of STEPS) {
      const item = dialog.locator(`[data-step="${step}"]`);
      found[step] = { state: await item.getAttribute("class"), text: await item.textContent() };
    }
    return found;
  }

  it("finds all well, with the time that each part took, and a report without secrets", async () => {
    await anna.page.getByRole("button", { name: "Voice call" }).click();
    await anna.page.getByRole("button", { name: "Check the connection" }).click();
    const found = await findings(anna);
    for (const step of STEPS) {
      assert.equal(found[step].state, "good", `${step}: ${JSON.stringify(found)}`);
      assert.match(found[step].text, /\d+ ms/, step);
    }
    await dialogOf(anna).getByText("All is well").waitFor();
    await dialogOf(anna).getByRole("button", { name: "Copy the result" }).click();
    await anna.page.getByText("Copied.").waitFor();
    const report = await anna.page.evaluate(() => navigator.clipboard.readText());
    assert.match(report, /^tls +good \d+ ms$/m);
    const secrets = await anna.page.evaluate(async () => {
      const { token } = JSON.parse(localStorage.getItem("moznods.session"));
      const answer = await fetch("/api/turn/credentials/", { headers: { Authorization: `Token ${token}` } });
      const { username, password } = await answer.json();
      return [token, username, password, "anna"];
    });
    for (const secret of secrets) assert.ok(!report.includes(secret), "a secret in the report");
    const mail = await dialogOf(anna).getByRole("link", { name: "Send by mail" }).getAttribute("href");
    assert.ok(decodeURIComponent(mail).includes(report));
    await dialogOf(anna).getByRole("button", { name: "Close" }).click();
  });

  it("says in a call that the microphone is muted", async () => {
    await anna.page.getByRole("button", { name: "Join the call" }).click();
    await control(anna, "Mute the microphone").click();
    await control(anna, "Call settings").click();
    await anna.page.getByRole("button", { name: "Why can't I be heard?" }).click();
    const found = await findings(anna);
    assert.equal(found.microphone.state, "doubtful");
    assert.match(found.microphone.text, /muted in this call/);
    assert.equal(found.udp.state, "good");
    await dialogOf(anna).getByRole("button", { name: "Close" }).click();
    await control(anna, "Leave the call").click();
  });

  it("says what to do about refused devices, a silent microphone, and a relay that is not reached", async () => {
    const boris = await Person.arrive(browser, server);
    await boris.register("boris");
    await boris.makeRoom("Attic");
    await boris.page.evaluate(() => {
      const { mediaDevices } = navigator;
      const open = mediaDevices.getUserMedia.bind(mediaDevices);
      mediaDevices.getUserMedia = async (wanted) => {
        if (wanted.video) throw new DOMException("refused", "NotAllowedError");
        const stream = await open(wanted);
        for (const track of stream.getTracks()) track.enabled = false;
        return stream;
      };
      // A firewall: whatever goes to the relay by TCP is lost.
      window.RTCPeerConnection = new Proxy(window.RTCPeerConnection, {
        construct(target, [configuration, ...rest]) {
          const iceServers = configuration.iceServers.map((server) =>
            String(server.urls).includes("transport=tcp")
              ? { ...server, urls: "turn:192.0.2.1:3478?transport=tcp" }
              : server,
          );
          return new target({ ...configuration, iceServers }, ...rest);
        },
      });
    });
    await boris.page.getByRole("button", { name: "Voice call" }).click();
    await boris.page.getByRole("button", { name: "Check the connection" }).click();
    const found = await findings(boris);
    assert.match(found.camera.text, /The camera is not allowed/);
    assert.equal(found.microphone.state, "doubtful");
    assert.match(found.microphone.text, /nothing is heard/);
    assert.equal(found.udp.state, "good");
    assert.equal(found.tcp.state, "failed");
    assert.match(found.tcp.text, /firewall/);
    await dialogOf(boris).getByText("Something does not work.").waitFor();
    await boris.leave();
  });

  it("says that the server does not answer", async () => {
    await anna.page.getByRole("button", { name: "Voice call" }).click();
    await server.kill();
    await anna.page.getByRole("button", { name: "Check the connection" }).click();
    const found = await findings(anna);
    assert.equal(found.server.state, "failed");
    assert.match(found.server.text, /other sites/);
    assert.equal(found.socket.state, "failed");
    assert.equal(found.udp.state, "skipped");
    await server.run();
    await dialogOf(anna).getByRole("button", { name: "Check again" }).click();
    await dialogOf(anna).getByText("All is well").waitFor();
    await anna.leave();
  });
});
