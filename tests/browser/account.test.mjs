// One's own account: name and picture, password, devices, the second factor, how things look, and leaving for good.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { launch, PASSWORD, Person, Server, until } from "./harness.mjs";

/** What an authenticator shows at a time (RFC 6238), `steps` later. */
function totp(secret, steps = 0) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret.replace(/[\s=]/g, "")]
    .map((sign) => alphabet.indexOf(sign.toUpperCase()).toString(2).padStart(5, "0"))
    .join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const mac = createHmac("sha1", key).update(counter).digest();
  const at = mac[19] & 15;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

describe("an account", () => {
  let server;
  let browser;
  let anna;
  let boris;
  let secret;
  let recovery;
  const NEW_PASSWORD = "another horse battery";
  before(async () => {
    server = await Server.start();
    browser = await launch();
    anna = await Person.arrive(browser, server);
    boris = await Person.arrive(browser, server);
    await anna.register("anna");
    await anna.makeRoom("Garden");
    await boris.register("boris", await anna.invitationLink());
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  const settings = async (person, part) => {
    await person.page.getByRole("link", { name: "Settings" }).click();
    if (part !== undefined) await person.page.getByRole("link", { name: part, exact: true }).click();
  };

  it("has a name and a picture, which others see", async () => {
    const { page } = boris;
    await settings(boris);
    await page.getByLabel("Display name").fill("Boris the gardener");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved.").waitFor();
    const picture = await page.evaluate(() => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
      canvas.getContext("2d").fillRect(0, 0, 64, 64);
      return canvas.toDataURL("image/png").split(",")[1];
    });
    await page.locator('input[type="file"]').setInputFiles({
      name: "me.png",
      mimeType: "image/png",
      buffer: Buffer.from(picture, "base64"),
    });
    await page.getByRole("button", { name: "Remove the picture" }).waitFor();
    const { id } = await anna.ask("POST", "/api/rooms/direct/", {
      user_id: (await boris.ask("GET", "/api/auth/me/")).id,
    });
    await boris.ask("POST", `/api/chat/${id}/messages/`, { content: "See my face" });
    await anna.page.getByRole("link", { name: /Boris the gardener/ }).click();
    await anna.sees("See my face");
    await until("Anna sees the picture", async () => {
      const value = await anna.page
        .locator(".message .avatar img")
        .first()
        .evaluate((image) => image.naturalWidth);
      return { done: value > 0, value };
    });
    await page.locator('input[type="file"]').setInputFiles({
      name: "no.png",
      mimeType: "image/png",
      buffer: Buffer.from("not a picture"),
    });
    await page.getByRole("alert").first().waitFor();
  });

  it("gets another password, which ends all other sign-ins", async () => {
    const elsewhere = await Person.arrive(browser, server);
    await elsewhere.page.goto("/");
    await elsewhere.signIn("boris");
    await elsewhere.page.getByRole("link", { name: "Settings" }).waitFor();
    const { page } = boris;
    await settings(boris, "Security");
    await page.getByLabel("Current password").fill("not this one");
    await page.getByLabel("New password").fill(NEW_PASSWORD);
    await page.getByRole("button", { name: "Change the password" }).click();
    await page.locator('input[name="current_password"][aria-invalid="true"]').waitFor();
    await page.getByLabel("Current password").fill(PASSWORD);
    await page.getByRole("button", { name: "Change the password" }).click();
    await page.getByText("The password has been changed.").waitFor();
    await elsewhere.page.getByLabel("Username or e-mail").waitFor();
    await elsewhere.signIn("boris", NEW_PASSWORD);
    await elsewhere.page.getByRole("link", { name: "Settings" }).waitFor();

    await settings(boris, "Devices");
    const rows = page.locator(".found .row");
    await until("both sign-ins are listed", async () => {
      const value = await rows.count();
      return { done: value === 2, value };
    });
    await rows
      .first()
      .getByRole("button", { name: /^Rename/ })
      .waitFor();
    const other = rows.filter({ hasNotText: "this device" });
    await other.getByRole("button", { name: /^Rename/ }).click();
    await page.getByLabel("Name of the device").fill("Old phone");
    await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
    await page.getByRole("button", { name: "Sign out Old phone" }).click();
    await elsewhere.page.getByLabel("Username or e-mail").waitFor();
    await elsewhere.leave();
  });

  it("has a second factor, set up by a code that is drawn here", async () => {
    const { page } = boris;
    await settings(boris, "Security");
    await page.getByLabel("Your password, to begin").fill(NEW_PASSWORD);
    await page.getByRole("button", { name: "Set up" }).click();
    await page.getByRole("img", { name: "QR code" }).waitFor();
    secret = await page.locator(".secret").textContent();
    await page.getByLabel("Code of the authenticator").fill("000000");
    await page.getByRole("button", { name: "Turn on" }).click();
    await page.locator('input[name="code"][aria-invalid="true"]').waitFor();
    await page.getByLabel("Code of the authenticator").fill(totp(secret));
    await page.getByRole("button", { name: "Turn on" }).click();
    const codes = page.getByRole("list", { name: "Recovery codes" }).getByRole("listitem");
    await codes.first().waitFor();
    recovery = await codes.allTextContents();
    assert.equal(recovery.length, 10);
    await page.getByRole("button", { name: "I have kept them" }).click();
    await page.getByText("10 recovery codes are left.").waitFor();
  });

  it("is entered with a code, or with one for the day the phone is lost", async () => {
    const { page } = boris;
    await page.getByRole("button", { name: "Sign out" }).click();
    await boris.signIn("boris", NEW_PASSWORD);
    const code = page.getByLabel("Code of the authenticator, or recovery code");
    await code.fill("000000");
    await code.press("Enter");
    await page.locator('input[name="code"][aria-invalid="true"]').waitFor();
    await code.fill(totp(secret, 1));
    await code.press("Enter");
    await page.getByRole("button", { name: "Sign out" }).click();
    await boris.signIn("boris", NEW_PASSWORD);
    await code.fill(recovery[0]);
    await code.press("Enter");
    await settings(boris, "Security");
    await page.getByText("9 recovery codes are left.").waitFor();
    await page.locator('input[name="password"]').fill(NEW_PASSWORD);
    await page.getByLabel("Code of the authenticator, or recovery code").fill(recovery[1]);
    await page.getByRole("button", { name: "Turn off" }).click();
    await page.getByRole("button", { name: "Set up" }).waitFor();
  });

  it("looks as one chooses, and remembers", async () => {
    const { page } = boris;
    await settings(boris, "Appearance");
    const background = () =>
      page.evaluate(() => getComputedStyle(document.querySelector(".main")).backgroundColor);
    const dark = await background();
    await page.getByRole("button", { name: "Light" }).click();
    assert.notEqual(await background(), dark);
    await page.getByRole("button", { name: "Русский" }).click();
    await page.getByRole("heading", { name: "Настройки" }).waitFor();
    await page.reload();
    await page.getByRole("heading", { name: "Настройки" }).waitFor();
    assert.notEqual(await background(), dark);
    await page.getByRole("button", { name: "English" }).click();
  });

  it("gets a new password by a link of the administrator", async () => {
    const { url } = await (async () => {
      const admin = await Person.arrive(browser, server);
      await admin.register("admin", await server.setupLink());
      const { id } = await boris.ask("GET", "/api/auth/me/").catch(async () => {
        boris.token = undefined;
        return boris.ask("GET", "/api/auth/me/");
      });
      const link = await admin.ask("POST", `/api/admin/users/${id}/reset-link/`);
      await admin.leave();
      return link;
    })();
    const { page } = boris;
    await page.goto(url);
    await page.getByLabel("New password").fill(PASSWORD);
    await page.getByRole("button", { name: "Set the password" }).click();
    await page.getByRole("button", { name: "Sign out" }).click();
    await boris.signIn("boris");
    await page.getByRole("link", { name: "Settings" }).waitFor();
    await page.goto(url);
    await page.getByLabel("New password").fill(PASSWORD);
    await page.getByRole("button", { name: "Set the password" }).click();
    await page.getByRole("alert").waitFor();
    await page.getByRole("link", { name: "To sign-in" }).click();
  });

  it("is deleted by its user, with the password", async () => {
    const { page } = boris;
    await settings(boris);
    await page.getByRole("button", { name: "Delete my account" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Password").fill("not this one");
    await dialog.getByRole("button", { name: "Delete my account" }).click();
    await dialog.locator('input[aria-invalid="true"]').waitFor();
    await dialog.getByLabel("Password").fill(PASSWORD);
    await dialog.getByRole("button", { name: "Delete my account" }).click();
    await page.getByLabel("Username or e-mail").waitFor();
    await boris.signIn("boris");
    await page.getByRole("alert").waitFor();
    for (const person of [anna, boris]) await person.leave();
  });
});
