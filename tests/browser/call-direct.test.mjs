// A call to one person rings, on all of his devices; he answers or declines.

import { after, before, describe, it } from "node:test";
import { allConnected, control, keepConnections, tileOf } from "./call-steps.mjs";
import { launch, Person, Server } from "./harness.mjs";

describe("a direct call", () => {
  let server;
  let browser;
  let anna;
  let boris;
  let phone;
  const ring = (page) => page.getByRole("alertdialog", { name: "anna" });

  before(async () => {
    server = await Server.start();
    browser = await launch(["--use-fake-device-for-media-stream=fps=8"]);
    anna = await Person.arrive(browser, server);
    boris = await Person.arrive(browser, server);
    for (const person of [anna, boris]) await person.context.addInitScript(keepConnections);
    await anna.register("anna");
    await anna.makeRoom("Garden");
    await boris.register("boris", await anna.invitationLink());
    // Another page of the same user stands for another device of his.
    phone = await boris.context.newPage();
    await phone.goto("/#/");
    await phone.getByRole("link", { name: /Garden/ }).waitFor();
    await anna.page.reload();
    await anna.page.getByRole("button", { name: "Write to boris" }).first().click();
    await anna.page.getByRole("heading", { name: "boris" }).first().waitFor();
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  it("rings on all devices until one of them declines, of which the caller hears", async () => {
    await anna.enterCall("Voice call");
    await anna.page.getByText("Calling boris…").waitFor();
    await ring(boris.page).getByText("is calling you").waitFor();
    await ring(phone).waitFor();
    await ring(phone).getByRole("button", { name: "Decline" }).click();
    await ring(boris.page).waitFor({ state: "detached" });
    await ring(phone).waitFor({ state: "detached" });
    await anna.page.getByText("boris cannot talk now.").waitFor();
  });

  it("stops ringing when the caller hangs up", async () => {
    await control(anna, "Leave the call").click();
    await anna.enterCall("Voice call");
    await ring(boris.page).waitFor();
    await control(anna, "Leave the call").click();
    await ring(boris.page).waitFor({ state: "detached" });
    await ring(phone).waitFor({ state: "detached" });
  });

  it("is answered in a press, and rings no more elsewhere", async () => {
    await anna.enterCall("Voice call");
    await ring(boris.page).getByRole("button", { name: "With video" }).click();
    await boris.page.getByRole("region", { name: "Call" }).waitFor();
    await ring(phone).waitFor({ state: "detached" });
    for (const person of [anna, boris]) await allConnected(person, 1);
    await tileOf(anna, "boris").locator("video").waitFor();
  });

  it("remembers the camera for one who joins again", async () => {
    await control(boris, "Leave the call").click();
    await boris.page.getByRole("button", { name: "Join", exact: true }).click();
    await boris.page.locator(".preview video").waitFor();
    await boris.page.getByRole("dialog").getByRole("button", { name: "Join the call" }).click();
    await allConnected(boris, 1);
    await tileOf(anna, "boris").locator("video").waitFor();
  });

  it("does not ring for one who has left, though the other is still there", async () => {
    await control(boris, "Leave the call").click();
    await tileOf(anna, "boris").waitFor({ state: "detached" });
    await boris.page.getByText("In the call: anna").waitFor();
    await anna.page.getByText("Nobody else is here any more.").waitFor();
    if ((await ring(boris.page).count()) + (await ring(phone).count()) > 0) throw new Error("it rings");
    await phone.close();
    for (const person of [anna, boris]) await person.leave();
  });
});
