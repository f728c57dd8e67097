"""A Chromium, the portal on a port of its own, and people who are logged in to it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, sync_playwright

from offices.models import User

DEBIANS = Path("/usr/bin/chromium")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    found = shutil.which("chromium") or (str(DEBIANS) if DEBIANS.exists() else None)
    if found is None:
        pytest.skip("There is no Chromium on this machine.")
    with pytest.MonkeyPatch.context() as patch:
        # Playwright runs an event loop in this thread, in which Django would refuse to ask the database.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
            yield browser
            browser.close()


@pytest.fixture
def portal(chromium: Browser, transactional_db: None, settings: Any, live_server: Any) -> str:
    """The address of a running portal, as the demo is run: over plain HTTP, with the phone simulator."""
    settings.DEMO = True
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False
    settings.PUBLIC_URL = live_server.url
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    return str(live_server.url)


@pytest.fixture
def open_page(chromium: Browser, portal: str) -> Iterator[Callable[..., Page]]:
    """A page at `path`, as `user` sees it who has logged in. What a script complains about fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def complain_of(dialog: Dialog) -> None:
        complaints.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def go(user: User, path: str, **options: Any) -> Page:
        client = Client()
        client.force_login(user)
        cookie = client.cookies[django_settings.SESSION_COOKIE_NAME].value
        context = chromium.new_context(**{"viewport": {"width": 1300, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(10_000)
        context.add_cookies([{"name": django_settings.SESSION_COOKIE_NAME, "value": cookie, "url": portal}])
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", complain_of)
        page.goto(f"{portal}{path}")
        return page

    yield go
    for context in contexts:
        context.close()
    assert complaints == []
