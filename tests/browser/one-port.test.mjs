// A network from which the port of HTTPS is all that can be reached: the page, its socket, and what is said and shown
// in a call come by it alone.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { allConnected, keepConnections, relayOnly, seesMovement } from "./call-steps.mjs";
import { freePort, launch, Person, Server } from "./harness.mjs";

/** The port of a network that has no other, whose connections go on outside, through a file. Ends with the first. */
const DOOR = `
const { connect, createServer } = require("node:net");
const [file, port] = process.argv.slice(2);
connect(file).on("close", () => process.exit());
createServer((near) => {
  const far = connect(file);
  for (const end of [near, far]) end.on("error", () => {});
  near.pipe(far).pipe(near);
}).listen(Number(port), "127.0.0.1");
`;

/** A browser as a program, in a network of its own that has this port. */
async function makeBrowser(directory, file, port) {
  const door = join(directory, "door.cjs");
  await writeFile(door, DOOR);
  const inside = `ip link set lo up; "${process.execPath}" "${door}" "${file}" ${port} & exec "$0" "$@"`;
  const chromium = process.env.CHROMIUM ?? "/usr/bin/chromium";
  const program = join(directory, "browser");
  await writeFile(
    program,
    `#!/bin/sh\nexec unshare --map-root-user --net -- sh -c '${inside}' "${chromium}" "$@"\n`,
  );
  await chmod(program, 0o755);
  return program;
}

describe("where only the port of HTTPS is open", () => {
  let directory;
  let server;
  let outside;
  let browser;
  const streams = new Set();

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "moznods-one-port-"));
    const [cert, key, file] = ["cert.pem", "key.pem", "door"].map((name) => join(directory, name));
    const request = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split(" ");
    await promisify(execFile)("openssl", [...request, "-keyout", key, "-out", cert]);
    const port = await freePort();
    const origin = `https://127.0.0.1:${port}`;
    server = await Server.start({
      "public-url": origin,
      "http-tls-listen": `127.0.0.1:${port}`,
      "http-tls-cert": cert,
      "http-tls-key": key,
      "turn-tls-listen": `127.0.0.1:${await freePort()}`,
    });
    outside = createServer((near) => {
      const far = connect(port, "127.0.0.1");
      for (const end of [near, far]) {
        streams.add(end);
        end.on("error", () => {});
      }
      near.pipe(far).pipe(near);
    });
    await new Promise((listening) => outside.listen(file, listening));
    browser = await launch(["--ignore-certificate-errors", "--use-fake-device-for-media-stream=fps=8"], {
      executablePath: await makeBrowser(directory, file, port),
    });
    server.reachedAt = { origin, inviteCode: () => server.inviteCode() };
  });
  after(async () => {
    await browser?.close();
    outside?.close();
    for (const stream of streams) stream.destroy();
    await server?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  it("people call each other", async () => {
    const anna = await Person.arrive(browser, server.reachedAt);
    const boris = await Person.arrive(browser, server.reachedAt);
    for (const person of [anna, boris]) {
      await person.context.addInitScript(keepConnections);
      await person.context.addInitScript(relayOnly);
    }
    await anna.register("anna");
    await anna.makeRoom("Garden");
    await boris.register("boris", await anna.invitationLink());
    for (const person of [anna, boris]) await person.enterCall("Video call");
    for (const person of [anna, boris]) await allConnected(person, 1);
    await Promise.all([seesMovement(anna), seesMovement(boris)]);
    const turn = await server.metric("moznods_tls_connections_total", 'protocol="turn"');
    assert.ok(turn >= 2, `${turn} connections of TURN`);
    for (const person of [anna, boris]) assert.deepEqual(person.problems, []);
    for (const person of [anna, boris]) await person.leave();
  });
});
