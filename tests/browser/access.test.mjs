// Coming in and going out: the first admin's link, the invite code, passwords, sign-out, the language.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { launch, PASSWORD, Person, Server } from "./harness.mjs";

describe("access", () => {
  let server;
  let browser;
  before(async () => {
    server = await Server.start();
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  it("makes the first account admin by the one-time link, without a code", async () => {
    const admin = await Person.arrive(browser, server);
    await admin.register("anna", await server.setupLink());
    await admin.page.getByText("Administrator").waitFor();
    assert.equal(new URL(admin.page.url()).hash, "#/", "the link has left the address bar");
    await admin.leave();
  });

  it("refuses a wrong invite code at its field, and takes the right one", async () => {
    const person = await Person.arrive(browser, server);
    const { page } = person;
    await page.goto("/");
    await page.getByRole("button", { name: "Register", exact: true }).click();
    await page.getByLabel("Username").fill("boris");
    await page.getByLabel("E-mail").fill("boris@example.org");
    await page.getByLabel("Password").fill("short");
    await page.getByLabel("Invite code").fill("not-the-code");
    await page.getByRole("button", { name: "Create account" }).click();
    await page.getByText("The password needs at least 8 characters.").waitFor();

    await page.getByLabel("Password").fill(PASSWORD);
    await page.getByRole("button", { name: "Create account" }).click();
    const code = page.getByLabel("Invite code");
    await page.locator('input[name="invite_code"][aria-invalid="true"]').waitFor();
    const note = await page.locator(`[id="${await code.getAttribute("aria-describedby")}"]`).textContent();
    assert.match(note ?? "", /code/i);

    await code.fill(await server.inviteCode());
    await page.getByRole("button", { name: "Create account" }).click();
    await page.getByText("No rooms yet").waitFor();
    await person.leave();
  });

  it("says that the password is wrong, in the chosen language", async () => {
    const person = await Person.arrive(browser, server);
    const { page } = person;
    await page.goto("/");
    await page.getByLabel("Username or e-mail").fill("boris");
    await page.getByLabel("Password").fill("a wrong password");
    await page.getByRole("main").getByRole("button", { name: "Sign in" }).last().click();
    const english = await page.getByRole("alert").textContent();
    assert.match(english ?? "", /^[\x20-\x7e’]+$/, "an English sentence");

    await page.getByRole("button", { name: "Русский" }).click();
    await page.getByRole("button", { name: "Войти" }).click();
    const russian = await page.getByRole("alert").textContent();
    assert.match(russian ?? "", /[а-яё]{3}/i, "a Russian sentence");
    await person.leave();
  });

  it("signs in by e-mail, and signing out kills the token everywhere", async () => {
    const person = await Person.arrive(browser, server);
    const { page } = person;
    await page.goto("/");
    await page.getByLabel("Username or e-mail").fill("boris@example.org");
    await page.getByLabel("Password").fill(PASSWORD);
    await page.getByLabel("Password").press("Enter");
    await page.getByText("No rooms yet").waitFor();

    const token = await page.evaluate(() => JSON.parse(localStorage.getItem("moznods.session")).token);
    const ask = () => fetch(`${server.origin}/api/rooms/`, { headers: { Authorization: `Token ${token}` } });
    assert.equal((await ask()).status, 200);
    const second = await person.context.newPage();
    await second.goto("/");
    await second.getByText("No rooms yet").waitFor();

    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Username or e-mail").waitFor();
    await second.getByLabel("Username or e-mail").waitFor();
    assert.equal((await ask()).status, 401, "the token is dead on the server");
    assert.equal(await page.evaluate(() => localStorage.getItem("moznods.session")), null);
    await person.leave();
  });

  it("begins in the browser's language and remembers another choice", async () => {
    const person = await Person.arrive(browser, server, { locale: "ru-RU" });
    const { page } = person;
    await page.goto("/");
    await page.getByRole("button", { name: "Войти" }).waitFor();
    assert.equal(await page.locator("html").getAttribute("lang"), "ru");
    await page.getByRole("button", { name: "English" }).click();
    await page.getByLabel("Username or e-mail").waitFor();
    await page.reload();
    await page.getByLabel("Username or e-mail").waitFor();
    await person.leave();
  });

  it("says that an invitation is not valid", async () => {
    const person = await Person.arrive(browser, server);
    await person.register("vera", "/#/join/00000000-0000-4000-8000-000000000000");
    await person.page.getByText("The invitation did not work").waitFor();
    await person.leave();
  });
});
