"""What schemathesis cannot know of a server: ids of what is there, and who asks. Both come as JSON in MOZNODS_KNOWN: `ids`,
lists by the name of the path's part; `url`; `user_token`; `victims`, users with `password` who may be signed out and deleted.
"""

import json
import os
import random

import requests
import schemathesis

KNOWN = json.loads(os.environ["MOZNODS_KNOWN"])
# Each ends the sign-in it is asked with, or may.
ENDING = {
    "post_auth_logout",
    "post_auth_logout_all",
    "delete_auth_me",
    "delete_auth_devices_id",
    "post_auth_password",
}
chance = random.Random(1)


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Most of what is asked for is there."""
    for name, value in (path_parameters or {}).items():
        ids = KNOWN["ids"].get(name)
        if ids and isinstance(value, (int, str)) and chance.random() < 0.7:
            path_parameters[name] = chance.choice(ids)
    return path_parameters


@schemathesis.hook
def map_body(context, body):
    """Half of the ids in bodies are those of users."""
    if isinstance(body, dict):
        for name in ("user_id", "id"):
            if isinstance(body.get(name), int) and chance.random() < 0.5:
                body[name] = chance.choice(KNOWN["ids"]["user"])
    return body


@schemathesis.auth(refresh_interval=None)
class Token:
    def get(self, case, context):
        """A sign-in of its own where it may end by what is asked."""
        if case.operation.definition.raw.get("operationId") not in ENDING:
            return KNOWN["user_token"]
        answer = requests.post(
            KNOWN["url"] + "/api/auth/login/",
            json={"username": chance.choice(KNOWN["victims"]), "password": KNOWN["password"]},
            timeout=20,
        )
        return answer.json().get("token", "none")

    def set(self, case, data, context):
        case.headers = case.headers or {}
        case.headers["Authorization"] = "Token " + data
