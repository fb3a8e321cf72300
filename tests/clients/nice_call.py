"""Two agents of libnice that may use relay candidates alone meet through a TURN server and exchange data.

Usage: nice_call.py HOST PORT udp|tcp|tls USERNAME PASSWORD
Prints the relay candidates that were gathered, one a line, then "heard" and how many bytes came back as they were sent.
"""

import queue
import sys
import threading

import gi

gi.require_version("Nice", "0.1")
from gi.repository import GLib, Nice

COMPONENT = 1
PIECE = bytes(range(256)) * 4
PIECES = 100
PATIENCE = 20
KINDS = {"udp": Nice.RelayType.UDP, "tcp": Nice.RelayType.TCP, "tls": Nice.RelayType.TLS}


class Agent:
    """Reliable: its data (pseudo TCP within the relayed datagrams) is a stream, which Python can read."""

    def __init__(self, context, controlling, host, port, transport, username, password):
        self.agent = Nice.Agent.new_reliable(context, Nice.Compatibility.RFC5245)
        for name, value in {
            "controlling-mode": controlling,
            "force-relay": True,
            "ice-tcp": False,
            "upnp": False,
        }.items():
            self.agent.set_property(name, value)
        local = Nice.Address()
        assert local.set_from_string(host)
        self.agent.add_local_address(local)
        self.stream = self.agent.add_stream(COMPONENT)
        kind = KINDS[transport]
        assert self.agent.set_relay_info(self.stream, COMPONENT, host, int(port), username, password, kind)
        self.gathered, self.writable = threading.Event(), threading.Event()
        self.agent.connect("candidate-gathering-done", lambda *_: self.gathered.set())
        self.agent.connect("reliable-transport-writable", lambda *_: self.writable.set())
        self.end = self.agent.get_io_stream(self.stream, COMPONENT)
        self.received = queue.Queue()
        # An agent whose data nobody reads does not read its sockets either.
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while piece := self.end.get_input_stream().read_bytes(len(PIECE), None).get_data():
            self.received.put(piece)

    def gather(self):
        assert self.agent.gather_candidates(self.stream)
        assert self.gathered.wait(PATIENCE), "no candidates"
        candidates = self.agent.get_local_candidates(self.stream, COMPONENT)
        for candidate in candidates:
            assert candidate.type == Nice.CandidateType.RELAYED
            print(self.agent.generate_local_candidate_sdp(candidate))
        return candidates

    def meet(self, other, candidates):
        found, username, password = other.agent.get_local_credentials(other.stream)
        assert found and self.agent.set_remote_credentials(self.stream, username, password)
        assert self.agent.set_remote_candidates(self.stream, COMPONENT, candidates) == len(candidates)

    def hear(self, expected):
        heard = b""
        while len(heard) < len(expected):
            heard += self.received.get(timeout=PATIENCE)
        assert heard == expected

    def say(self, data):
        self.end.get_output_stream().write_all(data, None)


def main(*server):
    context = GLib.MainContext()
    loop = GLib.MainLoop.new(context, False)
    threading.Thread(target=loop.run, daemon=True).start()
    one, other = Agent(context, True, *server), Agent(context, False, *server)
    of_one, of_other = one.gather(), other.gather()
    one.meet(other, of_other)
    other.meet(one, of_one)
    for agent in (one, other):
        assert agent.writable.wait(PATIENCE), "not connected"
    for _ in range(PIECES):
        one.say(PIECE)
        other.hear(PIECE)
        other.say(PIECE)
        one.hear(PIECE)
    print("heard", PIECES * len(PIECE))


main(*sys.argv[1:])
