// A call of five: all see all, and one who leaves is seen again when he comes back.

import { after, before, describe, it } from "node:test";
import { allConnected, control, keepConnections, seesMovement, tileOf, tilesPlay } from "./call-steps.mjs";
import { launch, Person, Server } from "./harness.mjs";

describe("a call of five", () => {
  let server;
  let browser;
  const people = [];

  before(async () => {
    server = await Server.start();
    browser = await launch(["--use-fake-device-for-media-stream=fps=4"]);
    let link;
    for (const name of ["anna", "boris", "vera", "gleb", "dina"]) {
      const person = await Person.arrive(browser, server);
      await person.context.addInitScript(keepConnections);
      await person.register(name, link);
      if (link === undefined) {
        await person.makeRoom("Garden");
        link = await person.invitationLink();
      }
      // Small windows are drawn by a machine without a graphics card in less time.
      await person.page.setViewportSize({ width: 480, height: 400 });
      people.push(person);
    }
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  it("plays on all sides, though all enter at the same moment", async () => {
    await Promise.all(people.map((person) => person.enterCall("Video call")));
    for (const person of people) await allConnected(person, 4);
    for (const person of people) {
      await tilesPlay(person, 5);
      await seesMovement(person, 4);
    }
  });

  it("lets one leave and come back", async () => {
    const boris = people[1];
    await control(boris, "Leave the call").click();
    for (const person of people.filter((other) => other !== boris)) {
      await tileOf(person, "boris").waitFor({ state: "detached" });
    }
    await boris.enterCall("Video call");
    for (const person of people) await allConnected(person, 4);
    await seesMovement(boris, 4);
    for (const person of people) await person.leave();
  });
});
