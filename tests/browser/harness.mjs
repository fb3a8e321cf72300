// What every browser test stands on: the real binary on free ports with a directory of its own, Debian's Chromium,
// and the steps of a person at the screen. What is asserted is left to the tests.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium, firefox } from "playwright-core";

const root = fileURLToPath(new URL("../../", import.meta.url));
const binary = process.env.MOZNODS_BIN ?? join(root, "target/debug/moznods");
const screenshots = join(root, "target/screenshots");

/** Milliseconds that any condition may take; only a broken program ever waits so long. */
const PATIENCE = Number(process.env.MOZNODS_PATIENCE ?? 60_000);
export const RELAY_PORTS = { first: 50_000, last: 50_999 };
export const PASSWORD = "correct horse battery";

const FIRST_PORT = 10_000;
const PORTS_EACH = 600;
let given = 0;

/**
 * A port of TCP that nobody has, and that this process gives out once. It lies below those from which the system
 * chooses for callers, so nobody gets it before it is bound, nor while a server is started again on it.
 */
export async function freePort() {
  const port = FIRST_PORT + (process.pid % 15) * PORTS_EACH + (given++ % PORTS_EACH);
  const probe = createServer();
  const bound = await new Promise((resolve) => {
    probe.once("error", () => resolve(false));
    probe.listen(port, () => resolve(true));
  });
  if (!bound) return freePort();
  probe.close();
  await once(probe, "close");
  return port;
}

/** Asks again and again until `probe` yields something; fails with what was seen last. */
export async function until(what, probe) {
  const end = Date.now() + PATIENCE;
  let seen;
  while (Date.now() < end) {
    seen = await probe();
    if (seen?.done) return seen.value;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`${what}: not within ${PATIENCE} ms; seen last: ${JSON.stringify(seen?.value)}`);
}

const WIDTHS = [320, 360, 480, 768, 1024, 1200, 1440];

/** What of the page reaches beyond the window or makes a part of it scroll sideways. */
function overflowing() {
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    // Tables, tabs and code scroll in frames of their own.
    if (element.closest(".visually-hidden, svg, [hidden], .table-frame, .page-tabs, pre") !== null) continue;
    const { left, right, width, height } = element.getBoundingClientRect();
    if (width === 0 || height === 0) continue;
    const name = `${element.tagName.toLowerCase()}.${element.className} “${element.textContent.slice(0, 30)}”`;
    if (left < -0.5 || right > innerWidth + 0.5)
      found.push(`${name}: from ${left} to ${right} of ${innerWidth}`);
    const { overflowX, textOverflow } = getComputedStyle(element);
    const cutOnPurpose = textOverflow === "ellipsis" || element.tagName === "INPUT";
    if (overflowX !== "visible" && !cutOnPurpose && element.scrollWidth > element.clientWidth + 1) {
      found.push(`${name}: ${element.scrollWidth} wide inside ${element.clientWidth}`);
    }
  }
  return found;
}

/** That nothing of a screen sticks out, from the narrowest phone to a wide window. */
export async function fits(person, screen) {
  const before = person.page.viewportSize();
  for (const width of WIDTHS) {
    await person.page.setViewportSize({ width, height: 740 });
    // The layout of the new width is there with the next frame but one.
    await person.page.evaluate(
      () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))),
    );
    assert.deepEqual(await person.page.evaluate(overflowing), [], `${screen} at ${width} px`);
  }
  await person.page.setViewportSize(before);
}

const axe = await readFile(fileURLToPath(import.meta.resolve("axe-core/axe.min.js")), "utf8");

/** That axe finds nothing against a screen as it stands. */
export async function isAccessible(person, screen) {
  const loaded = await person.page.evaluate(() => "axe" in window);
  // Its script comes past the page's Content-Security-Policy, which allows files of the server alone.
  if (!loaded) await person.page.evaluate(axe);
  const found = await person.page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, help, nodes }) => ({
      rule: `${id}: ${help}`,
      nodes: nodes.slice(0, 4).map((node) => `${node.target.join(" ")} — ${node.any[0]?.message ?? ""}`),
    }));
  });
  assert.deepEqual(found, [], `axe on ${screen}`);
}

export class Server {
  /** Starts `moznods serve` in a new data directory, with these settings beside or in place of the usual ones. */
  static async start(settings = {}) {
    const server = new Server();
    server.settings = settings;
    server.dataDir = await mkdtemp(join(tmpdir(), "moznods-browser-"));
    // Read rather than that of a server which this machine runs.
    await writeFile(join(server.dataDir, "moznods.toml"), "");
    server.httpPort = await freePort();
    server.turnPort = await freePort();
    server.origin = `http://127.0.0.1:${server.httpPort}`;
    try {
      await server.run();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  async run() {
    const settings = {
      "data-dir": this.dataDir,
      "http-listen": `127.0.0.1:${this.httpPort}`,
      "public-url": this.origin,
      "turn-listen": `127.0.0.1:${this.turnPort}`,
      "turn-external-ip": "127.0.0.1",
      "turn-relay-ports": `${RELAY_PORTS.first}-${RELAY_PORTS.last}`,
      "limits-enabled": "false",
      "log-level": "warn",
      ...this.settings,
    };
    const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
    // Settings of whoever runs the tests are not settings of the tests.
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !name.startsWith("MOZNODS_")),
    );
    this.process = spawn(binary, ["serve", ...flags], {
      stdio: ["ignore", "pipe", "pipe"],
      cwd: this.dataDir,
      env,
    });
    this.stdout = "";
    this.stderr = "";
    this.process.stdout.setEncoding("utf8").on("data", (text) => (this.stdout += text));
    this.process.stderr.setEncoding("utf8").on("data", (text) => (this.stderr += text));
    this.process.on("error", (error) => (this.stderr += error.message));
    await until("the server answers /healthz", async () => {
      if (this.process.exitCode !== null)
        assert.fail(`the server ended with ${this.process.exitCode}: ${this.stderr}`);
      const status = await fetch(`${this.origin}/healthz`).then((answer) => answer.status, String);
      return { done: status === 200, value: [status, this.stderr] };
    });
  }

  /** As a power cut would end it. */
  async kill() {
    const { exitCode, signalCode } = this.process;
    if (exitCode !== null || signalCode !== null) return;
    this.process.kill("SIGKILL");
    await once(this.process, "exit");
  }

  async stop() {
    await this.kill();
    await rm(this.dataDir, { recursive: true, force: true });
  }

  /** The code that `serve` prints. */
  inviteCode() {
    return this.printed(/code[^\n]*?\s(\S+)\s*$/im);
  }

  setupLink() {
    return this.printed(/(http\S+\/#\/setup\/\S+)/);
  }

  printed(pattern) {
    return until(`the server prints ${pattern}`, () => {
      const match = pattern.exec(this.stdout);
      return { done: match !== null, value: match?.[1] ?? this.stdout };
    });
  }

  /** Sum of a metric's samples whose labels contain `labels`. */
  async metric(name, labels = "") {
    const answer = await fetch(`${this.origin}/metrics`);
    assert.equal(answer.status, 200, "/metrics");
    const samples = (await answer.text())
      .split("\n")
      .filter(
        (line) => (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) && line.includes(labels),
      );
    assert.notEqual(samples.length, 0, `/metrics has ${name}{${labels}}`);
    return samples.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  }
}

export function launch(more = [], options = {}) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    ...options,
    args: [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream",
      "--allow-loopback-in-peer-connection",
      "--autoplay-policy=user-gesture-required",
      ...more,
    ],
  });
}

/** Debian's own Firefox, which is driven by WebDriver BiDi. */
export function launchFirefox() {
  return firefox.launch({
    channel: "moz-firefox",
    executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
    firefoxUserPrefs: {
      "media.navigator.streams.fake": true,
      "media.navigator.permission.disabled": true,
      "media.peerconnection.ice.loopback": true,
    },
  });
}

/** What a context of it is not asked for: BiDi knows neither; its settings above give the permissions. */
export const FIREFOX = { permissions: [], colorScheme: null };

/** One person at one browser of their own. */
export class Person {
  static async arrive(browser, server, options = {}) {
    const person = new Person();
    person.server = server;
    person.context = await browser.newContext({
      baseURL: server.origin,
      locale: "en-US",
      colorScheme: "dark",
      viewport: { width: 1440, height: 900 },
      permissions: ["camera", "microphone"],
      // What a worker fetches no test sees; those of the worker itself allow it.
      serviceWorkers: "block",
      ...options,
    });
    person.context.setDefaultTimeout(PATIENCE);
    person.problems = [];
    person.page = await person.context.newPage();
    // A refused script, style or request would show here and nowhere else.
    person.page.on("pageerror", (error) => person.problems.push(String(error)));
    person.page.on("console", (message) => {
      if (/Content Security Policy/i.test(message.text())) person.problems.push(message.text());
    });
    person.page.on("request", (request) => {
      if (
        /^(https?|wss?):/.test(request.url()) &&
        new URL(request.url()).host !== new URL(server.origin).host
      ) {
        person.problems.push(`a request to another host: ${request.url()}`);
      }
    });
    return person;
  }

  async register(username, address = "/") {
    const { page } = this;
    this.username = username;
    await page.goto(address);
    const registerTab = page.getByRole("button", { name: "Register", exact: true });
    if (!address.includes("/#/setup/")) await registerTab.click();
    await page.getByLabel("Username").fill(username);
    await page.getByLabel("E-mail").fill(`${username}@example.org`);
    await page.getByLabel("Password").fill(PASSWORD);
    if (!address.includes("/#/setup/"))
      await page.getByLabel("Invite code").fill(await this.server.inviteCode());
    await page.getByRole("button", { name: "Create account" }).click();
    await page
      .getByRole("button", { name: "Sign out" })
      .or(page.getByRole("link", { name: "To the rooms" }))
      .first()
      .waitFor();
    if (address.includes("/#/join/")) await this.enter();
  }

  /** Accepts the invitation that is on the screen; one that is not good says so. */
  async enter() {
    const { page } = this;
    const enter = page.getByRole("button", { name: "Enter", exact: true });
    const refused = page.getByText("The invitation did not work");
    await enter.or(refused).waitFor();
    if (await refused.isVisible()) return;
    await enter.click();
    await page.waitForURL(/#\/room\/\d+$/);
  }

  /** Signs in on the screen that asks for it. */
  async signIn(name, password = PASSWORD) {
    const { page } = this;
    this.username = name;
    await page.getByLabel("Username or e-mail").fill(name);
    await page.getByLabel("Password").fill(password);
    await page.getByLabel("Password").press("Enter");
  }

  /** Asks the API as this person does. */
  async ask(method, path, body) {
    this.token ??= await this.page.evaluate(() => JSON.parse(localStorage.getItem("moznods.session")).token);
    const headers = { Authorization: `Token ${this.token}` };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const answer = await fetch(this.server.origin + path, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  }

  /** Writes many messages, in order of their numbers but for a few that go at once. */
  async write(room, texts, atOnce = 1) {
    const waiting = [...texts];
    const worker = async () => {
      for (let text = waiting.shift(); text !== undefined; text = waiting.shift())
        await this.ask("POST", `/api/chat/${room}/messages/`, { content: text });
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
  }

  roomId() {
    return Number(/#\/room\/(\d+)/.exec(this.page.url())?.[1]);
  }

  /** A stored message by its text. */
  message(text) {
    return this.page.locator("[data-message-id]", { has: this.page.locator(".text", { hasText: text }) });
  }

  async makeRoom(name) {
    const { page } = this;
    await page.getByRole("button", { name: "New room" }).first().click();
    await page.getByLabel("Room name").fill(name);
    await page.getByRole("button", { name: "Create" }).click();
    await page.getByRole("heading", { name, exact: true }).waitFor();
  }

  /** Presses a button that leads to a call ("Voice call", "Video call", "Join"), and enters. */
  async enterCall(button, page = this.page) {
    await page.getByRole("button", { name: button, exact: true }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Join the call" }).click();
    await page.getByRole("region", { name: "Call" }).waitFor();
  }

  /** The link as the dialog shows it. */
  async invitationLink() {
    const { page } = this;
    await page.getByRole("button", { name: "Invite", exact: true }).click();
    const link = await page.getByLabel("Invitation link").inputValue();
    await page.getByRole("button", { name: "Close" }).last().click();
    return link;
  }

  /** Writes and waits for the server's word that it is stored. */
  async say(text) {
    const { page } = this;
    await page.getByRole("textbox", { name: "Write a message" }).fill(text);
    await page.getByRole("textbox", { name: "Write a message" }).press("Enter");
    await this.sees(text);
  }

  /** A stored message with just this text, once. */
  async sees(text) {
    const stored = this.page.locator("[data-message-id] .text");
    await until(`${this.username} sees “${text}” once`, async () => {
      const texts = await stored.allTextContents();
      return { done: texts.filter((shown) => shown === text).length === 1, value: texts };
    });
  }

  async screenshot(name) {
    await mkdir(screenshots, { recursive: true });
    await this.page.screenshot({ path: join(screenshots, `${name}.png`) });
  }

  async leave() {
    await this.context.close();
    assert.deepEqual(this.problems, [], `what ${this.username ?? "the visitor"}'s page complained of`);
  }
}
