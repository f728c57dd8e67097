"""What came in, what it means, what may go out."""

from django.apps import AppConfig


class MessagingConfig(AppConfig):
    name = "messaging"
