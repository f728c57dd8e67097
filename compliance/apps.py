"""The roof: settings, addresses, the admin's frame, health, the demo."""

from django.apps import AppConfig


class ComplianceConfig(AppConfig):
    name = "compliance"
