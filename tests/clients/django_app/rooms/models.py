import uuid

from django.conf import settings
from django.db import models


class Room(models.Model):
    name = models.CharField(max_length=255)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    is_direct = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)


class RoomParticipant(models.Model):
    room = models.ForeignKey(Room, models.CASCADE)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    joined_at = models.DateTimeField(auto_now_add=True)
    is_pinned = models.BooleanField(default=False)


class RoomInvitation(models.Model):
    room = models.ForeignKey(Room, models.CASCADE)
    token = models.UUIDField(default=uuid.uuid4, unique=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True)
