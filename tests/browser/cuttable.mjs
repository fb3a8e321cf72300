// A network that can be cut: everything between one browser and the server, over TCP and UDP, goes through here. Cut,
// it swallows what comes, as a tunnel swallows a train's; moved, it is as if the device had come to another network.

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer } from "node:net";

export class CuttableNetwork {
  /** In front of these ports of the server. */
  static async before({ httpPort, turnPort }) {
    const network = new CuttableNetwork();
    network.isCut = false;
    network.streams = new Set();
    network.flows = new Map();
    network.http = await network.listen(httpPort);
    network.turn = await network.listen(turnPort);
    // STUN and TURN over UDP, on the same port as over TCP.
    network.udp = createSocket("udp4");
    network.udp.on("message", (data, from) => network.pass(data, from, turnPort));
    network.udp.bind(network.turn.address().port, "127.0.0.1");
    await once(network.udp, "listening");
    return network;
  }

  get origin() {
    return `http://127.0.0.1:${this.http.address().port}`;
  }

  get turnPort() {
    return this.turn.address().port;
  }

  cut() {
    this.isCut = true;
    for (const { near, far } of this.streams) {
      near.pause();
      far.pause();
    }
  }

  restore() {
    this.isCut = false;
    for (const { near, far } of this.streams) {
      near.resume();
      far.resume();
    }
  }

  /** What was open is dead, without anybody being told: streams hang for ever, datagrams come from new ports. */
  move() {
    for (const stream of this.streams) {
      stream.near.removeAllListeners("data").pause();
      stream.far.removeAllListeners("data").pause();
    }
    this.streams.clear();
    for (const flow of this.flows.values()) flow.close();
    this.flows.clear();
    this.isCut = false;
  }

  async close() {
    this.closed = true;
    for (const flow of this.flows.values()) flow.close();
    this.udp.close();
    for (const server of [this.http, this.turn]) server.close();
    for (const socket of this.all) socket.destroy();
  }

  all = new Set();

  async listen(port) {
    const server = createServer((near) => {
      const far = connect(port, "127.0.0.1");
      const stream = { near, far };
      this.streams.add(stream);
      for (const [one, other] of [
        [near, far],
        [far, near],
      ]) {
        this.all.add(one);
        one.on("data", (data) => other.write(data));
        one.on("end", () => this.streams.has(stream) && other.end());
        one.on("error", () => this.streams.has(stream) && other.destroy());
        one.on("close", () => this.all.delete(one));
      }
      if (this.isCut) {
        near.pause();
        far.pause();
      }
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return server;
  }

  pass(data, from, turnPort) {
    if (this.isCut || this.closed) return;
    const key = `${from.address} ${from.port}`;
    let flow = this.flows.get(key);
    if (flow === undefined) {
      flow = createSocket("udp4");
      flow.on("message", (answer) => {
        if (!this.isCut && !this.closed) this.udp.send(answer, from.port, from.address);
      });
      flow.on("error", () => {});
      this.flows.set(key, flow);
    }
    flow.send(data, turnPort, "127.0.0.1");
  }
}
