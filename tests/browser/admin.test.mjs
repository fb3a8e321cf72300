// What an administrator sees and does: users, rooms, the relay as it runs and what it carried, the journal.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { fits, isAccessible, launch, PASSWORD, Person, Server, until } from "./harness.mjs";
import { trouble } from "./tour.mjs";

/** In the page: an allocation at the relay, as a call makes one, kept until the page goes. */
async function allocate(token) {
  const answer = await fetch("/api/turn/credentials/", { headers: { Authorization: `Token ${token}` } });
  const { iceServers } = await answer.json();
  const connection = new RTCPeerConnection({ iceServers, iceTransportPolicy: "relay" });
  window.kept = connection;
  connection.createDataChannel("probe");
  const relayed = new Promise((resolve) => {
    connection.onicecandidate = ({ candidate }) => candidate && resolve(candidate.type);
  });
  await connection.setLocalDescription(await connection.createOffer());
  return relayed;
}

describe("an administrator", () => {
  let server;
  let browser;
  let anna;
  let boris;
  const row = (name) => anna.page.locator(`[data-user="${name}"]`);
  const act = async (name, item) => {
    await row(name)
      .getByRole("button", { name: `Actions for ${name}` })
      .click();
    await anna.page.getByRole("menuitem", { name: item }).click();
  };
  before(async () => {
    server = await Server.start();
    browser = await launch();
    anna = await Person.arrive(browser, server);
    boris = await Person.arrive(browser, server);
    await anna.register("anna", await server.setupLink());
    await boris.register("boris");
    await boris.makeRoom("Workshop");
    await boris.say("Secret plans");
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  it("ends what is relayed, and sees how much it was", async () => {
    await boris.ask("GET", "/api/auth/me/");
    assert.equal(await boris.page.evaluate(allocate, boris.token), "relay");
    const { page } = anna;
    await page.getByRole("link", { name: "Admin", exact: true }).click();
    await page.getByRole("link", { name: "Relay" }).click();
    const live = page.getByRole("row", { name: /boris/ }).first();
    await live.waitFor();
    const before = await page.locator("[data-allocation]").count();
    await live.getByRole("button", { name: "End" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "End" }).click();
    await until("one fewer is there", async () => {
      const value = await page.locator("[data-allocation]").count();
      return { done: value < before, value };
    });
    await page.getByRole("link", { name: "Usage" }).click();
    await page.locator(".bars li", { hasText: "boris" }).waitFor();
    await page.getByLabel("Month").selectOption({ index: 3 });
    await page.getByText("Nothing was relayed").waitFor();
  });

  it("finds users, blocks them and lets them in again", async () => {
    const { page } = anna;
    await page.getByRole("link", { name: "Users" }).click();
    await page.getByLabel("Find people by name").fill("bor");
    await row("anna").waitFor({ state: "detached" });
    await act("boris", "Block");
    await row("boris").getByText("blocked").waitFor();
    await boris.page.getByLabel("Username or e-mail").waitFor();
    await boris.signIn("boris");
    await boris.page.getByRole("alert").waitFor();
    await act("boris", "Unblock");
    await row("boris").getByText("blocked").waitFor({ state: "detached" });
    await boris.signIn("boris");
    await boris.page.getByRole("link", { name: "Settings" }).waitFor();
  });

  it("makes a link for a new password", async () => {
    await act("boris", "Link for a new password");
    const link = await anna.page.getByRole("textbox", { name: "Link for a new password" }).inputValue();
    await anna.page.keyboard.press("Escape");
    await boris.page.goto(link);
    await boris.page.getByLabel("New password").fill(PASSWORD);
    await boris.page.getByRole("button", { name: "Set the password" }).click();
    await boris.page.getByRole("link", { name: "Settings" }).waitFor();
  });

  it("makes others administrators, and unmakes them", async () => {
    await act("boris", "Make an administrator");
    await row("boris").getByText("Administrator", { exact: true }).waitFor();
    await boris.page.reload();
    await boris.page.getByRole("link", { name: "Admin", exact: true }).waitFor();
    await act("boris", "No longer an administrator");
    await row("boris").getByText("Administrator", { exact: true }).waitFor({ state: "detached" });
  });

  it("deletes rooms without reading them, and users", async () => {
    const { page } = anna;
    await page.getByRole("link", { name: "Rooms", exact: true }).click();
    await page.getByText("Workshop").waitFor();
    await page.getByText("1 message").waitFor();
    assert.equal(await page.getByText("Secret plans").count(), 0);
    await page.getByRole("button", { name: "Delete Workshop" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByText("Nothing was found").waitFor();
    await page.getByRole("link", { name: "Users" }).click();
    await act("boris", "Delete the account");
    await page.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click();
    await row("boris").waitFor({ state: "detached" });
    await boris.page.getByLabel("Username or e-mail").waitFor();
  });

  it("gives other programs secrets, replaces and ends them", async () => {
    const { page } = anna;
    const program = page.locator("[data-program=matrix]");
    const dialog = page.getByRole("dialog");
    const choose = async (item) => {
      await program.getByRole("button", { name: "Actions for matrix" }).click();
      await page.getByRole("menuitem", { name: item }).click();
    };
    const shown = async () => {
      const secret = await page.getByRole("textbox", { name: "Secret of matrix" }).inputValue();
      assert.match(secret, /^\S{32,}$/);
      await dialog.getByRole("button", { name: "I have kept it" }).click();
      return secret;
    };
    await page.getByRole("link", { name: "Programs" }).click();
    await page.getByText("No other program uses the relay").waitFor();
    await page.getByRole("button", { name: "Add a program" }).click();
    await page.getByLabel("Name of the program").fill("two words");
    await page.getByLabel("GB in a month, at most").fill("half");
    await dialog.getByRole("button", { name: "Make the secret" }).click();
    await page.getByText("A positive whole number, or nothing.").waitFor();
    await page.getByLabel("GB in a month, at most").fill("100");
    await dialog.getByRole("button", { name: "Make the secret" }).click();
    await page.getByText("1 to 64 letters (a-z)").waitFor();
    await page.getByLabel("Name of the program").fill("matrix");
    await page.getByLabel("Live allocations, at most").fill("5");
    await dialog.getByRole("button", { name: "Make the secret" }).click();
    const first = await shown();
    await program.getByText("at most 5 allocations, at most 100 GB a month").waitFor();
    const [{ max_bytes_per_month }] = await anna.ask("GET", "/api/admin/relay/secrets/");
    assert.equal(max_bytes_per_month, 100 * 2 ** 30);

    await choose("New secret");
    await page.getByLabel("The old secret").selectOption({ label: "is taken for another hour" });
    await dialog.getByRole("button", { name: "Make the secret" }).click();
    assert.notEqual(await shown(), first);
    await program.getByText("The secret before is taken until").waitFor();

    await choose("End the secret");
    await dialog.getByRole("button", { name: "End the secret" }).click();
    await program.waitFor({ state: "detached" });
  });

  it("gives devices accounts at the relay, and removes them", async () => {
    const { page } = anna;
    const device = page.locator("[data-device='door.cam']");
    const dialog = page.getByRole("dialog");
    await page.getByRole("link", { name: "Programs" }).click();
    await page.getByText("No device has an account at the relay").waitFor();
    await page.getByRole("button", { name: "Add a device" }).click();
    await page.getByLabel("Name of the device").fill("4711");
    await dialog.getByRole("button", { name: "Make the password" }).click();
    await page.getByText("with a letter among them").waitFor();
    await page.getByLabel("Name of the device").fill("door.cam");
    await dialog.getByRole("button", { name: "Make the password" }).click();
    const password = page.getByRole("textbox", { name: "Password of door.cam" });
    assert.match(await password.inputValue(), /^\S{20,}$/);
    await dialog.getByRole("button", { name: "I have kept it" }).click();
    await device.getByText("made ").waitFor();

    await device.getByRole("button", { name: "Actions for door.cam" }).click();
    await page.getByRole("menuitem", { name: "Remove the device" }).click();
    await dialog.getByRole("button", { name: "Remove the device" }).click();
    await device.waitFor({ state: "detached" });
    assert.deepEqual(await anna.ask("GET", "/api/admin/relay/devices/"), []);
  });

  it("looks up the settings in force, and what the log warns of", async () => {
    const { page } = anna;
    const setting = (key) => page.locator(`[data-setting="${key}"]`);
    await page.getByRole("link", { name: "Settings", exact: true }).last().click();
    await setting("turn.external_ip").getByText("127.0.0.1").waitFor();
    await setting("turn.external_ip").getByText("by --turn-external-ip").waitFor();
    await setting("turn.mobility").getByText("by default").waitFor();
    await setting("turn.allow_peers").getByText("read again on SIGHUP").waitFor();
    await setting("accounts.invite_code").getByText("not set").waitFor();
    await page.getByRole("button", { name: "Changed" }).click();
    await setting("turn.mobility").waitFor({ state: "detached" });
    await page.getByLabel("Find a setting").fill("public_url");
    await setting("turn.external_ip").waitFor({ state: "detached" });
    await setting("public_url").getByText(server.origin).waitFor();

    await page.getByRole("link", { name: "Warnings" }).click();
    await page.getByText("Nothing to complain of").waitFor();
    await trouble(server, anna);
    await page.getByRole("button", { name: "Look again" }).click();
    await page.locator("[data-level=warn]", { hasText: "settings=audit.keep_days" }).waitFor();
    await trouble(server, anna);
    await until("it is there once, twice", async () => {
      await page.getByRole("button", { name: "Look again" }).click();
      const value = await page.locator("[data-level=warn]").allInnerTexts();
      return { done: value.length === 1 && value[0].includes("2 times since"), value };
    });
    await page.getByRole("link", { name: "Settings", exact: true }).last().click();
    await page.getByRole("button", { name: "Changed" }).click();
    await setting("audit.keep_days").getByText("takes effect at the next start").waitFor();
  });

  it("reads in the journal what was done", async () => {
    const { page } = anna;
    await page.getByRole("link", { name: "Journal" }).click();
    for (const text of [
      "Account deleted",
      "Room deleted",
      "User blocked",
      "Allocation ended",
      "Program's secret ended",
    ])
      await page.getByText(text, { exact: true }).first().waitFor();
    for (const person of [anna, boris]) await person.leave();
  });
});

describe("an administrator of a server that somebody attacks", () => {
  let server;
  let browser;
  let anna;
  before(async () => {
    server = await Server.start({
      "limits-enabled": "true",
      "limits-ban-after": "2",
      "http-trusted-proxies": "127.0.0.0/8",
    });
    browser = await launch();
    anna = await Person.arrive(browser, server);
    await anna.register("anna", await server.setupLink());
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  /** Signs in from this address, as a proxy would say; the status of the answer. */
  async function signIn(username, password, from) {
    const answer = await fetch(`${server.origin}/api/auth/login/`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Forwarded-For": from },
      body: JSON.stringify({ username, password }),
    });
    return answer.status;
  }

  it("sees who is banned, and lifts a ban", async () => {
    const { page } = anna;
    await page.getByRole("link", { name: "Admin", exact: true }).click();
    await page.getByRole("link", { name: "Bans" }).click();
    await page.getByText("Nobody is banned").waitFor();
    for (const name of ["eve1", "eve2", "eve3"])
      assert.equal(await signIn(name, "guess", "2001:db8:1::7"), 401);
    assert.equal(await signIn("anna", PASSWORD, "2001:db8:1::8"), 429);
    await page.getByRole("button", { name: "Look again" }).click();
    const ban = page.locator("[data-ban]", { hasText: "2001:db8:1::/64" });
    await ban.getByText("Signing in").waitFor();
    await fits(anna, "bans");
    await isAccessible(anna, "bans");
    await ban.getByRole("button", { name: "Lift" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Lift" }).click();
    await page.getByText("Nobody is banned").waitFor();
    assert.equal(await signIn("anna", PASSWORD, "2001:db8:1::8"), 200);
    await page.getByRole("link", { name: "Journal" }).click();
    await page.getByText("Ban of an address or account lifted").waitFor();
    await anna.leave();
  });
});
