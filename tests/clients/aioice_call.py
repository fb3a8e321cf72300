"""Two aioice agents that may use relay candidates alone meet through a TURN server and exchange messages.

Usage: aioice_call.py HOST PORT udp|tcp|tls USERNAME PASSWORD
Prints the relay candidates that were gathered, one a line, then "heard" and how many bytes one of them heard.
"""

import asyncio
import sys

import aioice

MESSAGES = 20


async def main(host, port, transport, username, password):
    def agent(controlling):
        return aioice.Connection(
            ice_controlling=controlling,
            turn_server=(host, int(port)),
            turn_transport="udp" if transport == "udp" else "tcp",
            turn_ssl=transport == "tls",
            turn_username=username,
            turn_password=password,
            use_ipv6=False,
            transport_policy=aioice.TransportPolicy.RELAY,
        )

    one, other = agent(True), agent(False)
    await asyncio.gather(one.gather_candidates(), other.gather_candidates())
    for here, there in ((one, other), (other, one)):
        for candidate in here.local_candidates:
            print(f"{candidate.type} {candidate.host} {candidate.port}")
            await there.add_remote_candidate(candidate)
        await there.add_remote_candidate(None)
        there.remote_username, there.remote_password = here.local_username, here.local_password
    await asyncio.gather(one.connect(), other.connect())
    heard = 0
    for number in range(MESSAGES):
        message = bytes([number]) * 1000
        await one.send(message)
        assert await other.recv() == message
        await other.send(message)
        assert await one.recv() == message
        heard += len(message)
    print("heard", heard)
    await asyncio.gather(one.close(), other.close())


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 20))
