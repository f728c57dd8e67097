"""What tests of pages need."""

from typing import Any

import pytest


@pytest.fixture
def static_files(settings: Any) -> None:
    """Pages name their stylesheets without a manifest, which only `collectstatic` makes."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
