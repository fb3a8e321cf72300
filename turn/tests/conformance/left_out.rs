//! Sentences for servers that no test stands for, each with the reason. Shown at the end of `CONFORMANCE.md`.

/// RFC, section, what it demands, why there is no test.
pub const LEFT_OUT: &[(u32, &str, &str, &str)] = &[
    (
        5780,
        "6",
        "TCP and TLS have different ports; a server with one address is not advertised as `stun-behavior`.",
        "Settings, `turn.listen` and `turn.tls_listen`, and the admin's DNS.",
    ),
    (
        5780,
        "6.1",
        "MAPPED-ADDRESS beside XOR-MAPPED-ADDRESS, and RESPONSE-ORIGIN and OTHER-ADDRESS in every answer.",
        "No answer to an address that has proven nothing is over three times as long as its request. MAPPED-ADDRESS, for \
         clients of RFC 3489, is not sent; of the others, as much as fits.",
    ),
    (
        5780,
        "6.1",
        "Integrity where authentication is required, and ALTERNATE-SERVER alone.",
        "Neither is used for Binding.",
    ),
    (
        6062,
        "5.1",
        "403 to an Allocate for UDP where a policy forbids UDP.",
        "There is no such policy.",
    ),
    (
        8016,
        "5",
        "A ticket is encrypted.",
        "There is nothing in it to hide: it is the worker's number and chance, under an HMAC, and serves nobody without the \
         owner's password.",
    ),
    (
        8489,
        "6.2.2",
        "A server never opens a connection back to a client to answer.",
        "There is no code that could: answers go to the connection or the socket that brought the request.",
    ),
    (
        8489,
        "6.2.3, 16",
        "Named cipher suites, perfect forward secrecy first, no weak suites, no compression, BCP 195.",
        "All of it is rustls: TLS 1.2 and 1.3 with forward secrecy alone, and no compression. Of the two suites that are \
         named, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 is there; rustls has no finite-field DHE, which RFC 9325 retired.",
    ),
    (
        8489,
        "9.1",
        "The short-term credential mechanism.",
        "TURN uses the long-term one (RFC 8656 §5).",
    ),
    (
        8489,
        "9.2",
        "Every nonce begins with the cookie.",
        "Not in the answer over UDP to a first Allocate of 28 bytes where the realm has more than 20: it would be more than \
         three times as long, and its address may be forged.",
    ),
    (
        8489,
        "9.2.4",
        "The checks come in a given order, a stale nonce last.",
        "Here the nonce is checked before the password, for it costs less and says whether the address is real. A client \
         with both wrong is told 438 first and 401 when it tries again.",
    ),
    (
        8489,
        "10, 14.8, 14.15, 14.16",
        "ALTERNATE-SERVER and 300.",
        "Optional; this server sends nobody elsewhere.",
    ),
    (
        8489,
        "11",
        "Compatibility with RFC 3489, and 500 to its requests over DTLS.",
        "TURN does not use it (RFC 8656 §5); what has no magic cookie is dropped.",
    ),
    (
        8489,
        "14.3, 14.9, 16",
        "OpaqueString for usernames, realms and passwords, and choosing good ones.",
        "They are made by this program, of ASCII, or by other programs and admins; the relay compares bytes.",
    ),
    (
        8656,
        "3.1",
        "RFC 7525 is followed against attacks on TLS.",
        "As above, rustls.",
    ),
    (
        8656,
        "5",
        "The admin chooses a realm that is unique.",
        "A setting, `turn.realm`.",
    ),
    (
        8656,
        "6",
        "The key is stored, and the password is not.",
        "The relay stores neither: it asks its authenticator for the key of each request, and `Key` holds a hash alone.",
    ),
    (
        8656,
        "12, 12.2, 12.6",
        "Channel numbers from 0x5000 are refused and their data dropped.",
        "So it is with `turn.legacy_channels = false`, which the tests here have. By default those up to 0x7FFF, which RFC \
         5766 allowed, are taken: coturn's own clients up to 4.16 choose from them.",
    ),
    (
        8656,
        "13",
        "Fields of the IP header between families, the alternate behaviour.",
        "The kernel's defaults for what leaves a socket are that behaviour.",
    ),
    (
        8656,
        "13.1 to 13.3",
        "DONT-FRAGMENT is ignored where the client or the peer is of IPv6.",
        "It is obeyed there as well: a client can find out what a path takes by either family, and nothing is fragmented \
         that was not to be.",
    ),
];
