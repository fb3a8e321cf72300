"""A browser as far as web push goes, by http-ece and py-vapid: makes keys, opens what was pushed. One question and one answer
per line, both JSON."""

import base64
import json
import sys

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02

AUTH = b"sixteen bytes..."
private = ec.generate_private_key(ec.SECP256R1())


def encode(octets):
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def open_message(authorization, body):
    payload = http_ece.decrypt(
        decode(body), private_key=private, auth_secret=AUTH, version="aes128gcm"
    )
    token, key = authorization.removeprefix("vapid t=").split(",k=")
    header, claims, _ = token.split(".")
    return {
        "payload": json.loads(payload),
        "signed": Vapid02.verify(authorization),
        "key": key,
        "header": json.loads(decode(header)),
        "claims": json.loads(decode(claims)),
    }


point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
print(json.dumps({"p256dh": encode(point), "auth": encode(AUTH)}), flush=True)
for line in sys.stdin:
    print(json.dumps(open_message(**json.loads(line))), flush=True)
