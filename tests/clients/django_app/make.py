"""Fills the database and the media directory of a Django program such as the old MOznoDS was, by Django itself.

make.py PLACE first    people, rooms, messages and files
make.py PLACE later    what came on the day after
make.py PLACE many N   one room with N messages, and a file in every thousandth

What it has made goes to stdout as JSON.
"""

import base64
import json
import os
import sys
from datetime import timedelta
from pathlib import Path

place, what = Path(sys.argv[1]), sys.argv[2]
sys.path.insert(0, str(Path(__file__).parent))
os.environ["DJANGO_APP_PLACE"] = str(place)
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

import django  # noqa: E402

django.setup()

from accounts.models import Profile  # noqa: E402
from chat.models import Message, MessageAttachment  # noqa: E402
from django.contrib.auth.hashers import make_password  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.files.base import ContentFile  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import transaction  # noqa: E402
from django.utils import timezone  # noqa: E402
from files.models import File  # noqa: E402
from rest_framework.authtoken.models import Token  # noqa: E402
from rooms.models import Room, RoomInvitation, RoomParticipant  # noqa: E402

PASSWORD = "correct horse battery"
# One pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def person(name, **more):
    user = User.objects.create_user(name, f"{name}@example.org", PASSWORD, **more)
    Profile.objects.create(user=user, display_name=name.title())
    return user


def room(owner, *others, name="room", **more):
    made = Room.objects.create(name=name, owner=owner, **more)
    for user in (owner, *others):
        RoomParticipant.objects.create(room=made, user=user)
    return made


def upload(user, name, kind, content):
    made = File(name=name, size=len(content), content_type=kind, uploader=user)
    made.file.save(name, ContentFile(content))
    return made


def attach(message, *files):
    for file in files:
        MessageAttachment.objects.create(message=message, file=file)


def first():
    call_command("migrate", run_syncdb=True, verbosity=0)
    ann = person("ann", is_superuser=True, is_staff=True)
    ben = person("ben")
    cas = person("cas", is_active=False)
    dan = person("dan")
    User.objects.filter(pk=dan.pk).update(password=make_password(PASSWORD, hasher="pbkdf2_sha1"))
    # A number that is given to nobody any more.
    person("gone").delete()
    eve = person("eve")
    ann.profile.avatar.save("ann.png", ContentFile(PNG))
    tokens = {user.username: Token.objects.create(user=user).key for user in (ann, ben, cas)}

    team = room(ann, ben, cas, eve, name="Команда")
    RoomParticipant.objects.filter(room=team, user=ben).update(is_pinned=True)
    pair = room(ann, ben, name="DM: ann & ben", is_direct=True)
    messages = []
    for number in range(30):
        author = (ann, ben)[number % 2]
        message = Message.objects.create(room=team, author=author, content=f"слово-{number} word")
        # None of them is of now.
        at = timezone.now() - timedelta(days=30) + timedelta(minutes=number, microseconds=number)
        Message.objects.filter(pk=message.pk).update(created_at=at)
        messages.append(message)
    for message in messages[:20]:
        message.read_by.add(ben)
    for message in messages[5:12]:
        message.read_by.add(eve)
    picture = upload(ben, "cat.png", "image/png", PNG)
    text = upload(ben, "заметки.txt", "text/plain", "строка\n".encode() * 1000)
    attach(messages[3], picture, text)
    Message.objects.create(room=pair, author=ben, content="between us")
    good = RoomInvitation.objects.create(room=team, created_by=ann)
    ended = RoomInvitation.objects.create(
        room=team, created_by=ann, expires_at=timezone.now() - timedelta(hours=1)
    )
    return {
        "password": PASSWORD,
        "users": {user.username: user.pk for user in User.objects.all()},
        "tokens": tokens,
        "team": team.pk,
        "pair": pair.pk,
        "messages": [
            [message.pk, message.author.username, message.content, stamp(message.created_at)]
            for message in Message.objects.filter(room=team).order_by("pk")
        ],
        "read_by": {
            message.pk: sorted(message.read_by.values_list("pk", flat=True)) for message in messages
        },
        "picture": [picture.pk, picture.file.name],
        "text": [text.pk, text.file.name],
        "invitation": str(good.token),
        "ended": str(ended.token),
    }


def stamp(time):
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def later():
    ben = User.objects.get(username="ben")
    fay = person("fay")
    team = Room.objects.get(name="Команда")
    RoomParticipant.objects.create(room=team, user=fay)
    message = Message.objects.create(room=team, author=fay, content="a day later")
    attach(message, upload(fay, "new.txt", "text/plain", b"new"))
    for old in Message.objects.filter(room=team).exclude(pk=message.pk):
        old.read_by.add(ben)
    return {"message": message.pk, "fay": fay.pk}


def many(count):
    call_command("migrate", run_syncdb=True, verbosity=0)
    ann = person("ann")
    made = room(ann)
    with transaction.atomic():
        Message.objects.bulk_create(
            Message(room=made, author=ann, content=f"message {number} " + "x" * 200)
            for number in range(count)
        )
        for message in Message.objects.filter(pk__in=range(1, count, 1000)):
            attach(message, upload(ann, "file.txt", "text/plain", f"of {message.pk}".encode()))
    return {"room": made.pk, "token": Token.objects.create(user=ann).key}


made = {"first": first, "later": later}
print(json.dumps(made[what]() if what in made else many(int(sys.argv[3]))))
