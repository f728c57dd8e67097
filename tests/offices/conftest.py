"""What tests of the ground floor's pages need."""

from typing import Any

import pytest


@pytest.fixture
def pages(settings: Any) -> None:
    """Pages name their stylesheets without a manifest, which only `collectstatic` makes; hashes are quick."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
