"""The settings of a Django program such as the old MOznoDS was, as far as its database depends on them."""

import os
from pathlib import Path

_place = Path(os.environ["DJANGO_APP_PLACE"])

SECRET_KEY = "for tests alone"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.admin",
    "django.contrib.messages",
    "rest_framework",
    "rest_framework.authtoken",
    "accounts",
    "rooms",
    "chat",
    "files",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": _place / "db.sqlite3"}}
MEDIA_ROOT = _place / "media"
# The first is Django's own default.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2SHA1PasswordHasher",
]
