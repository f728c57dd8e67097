"""Who texts, from which number, under which campaign."""

from django.apps import AppConfig


class OfficesConfig(AppConfig):
    name = "offices"
