from django.conf import settings
from django.db import models


class Profile(models.Model):
    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE)
    display_name = models.CharField(max_length=150, blank=True)
    avatar = models.FileField(upload_to="avatars/", blank=True)
