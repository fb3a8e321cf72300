from django.conf import settings
from django.db import models


class Message(models.Model):
    room = models.ForeignKey("rooms.Room", models.CASCADE)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    content = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    read_by = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="read")


class MessageAttachment(models.Model):
    message = models.ForeignKey(Message, models.CASCADE)
    file = models.ForeignKey("files.File", models.CASCADE)
