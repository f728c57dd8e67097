"""Carrier accounts in a browser: each carrier's own fields, the address to copy, one press to test."""

from __future__ import annotations

import pytest
from django.urls import reverse

from messaging.carriers.registry import CARRIERS
from offices.models import CarrierAccount
from tests.factories import CarrierAccountFactory, CompanyFactory, UserFactory

pytestmark = [pytest.mark.django_db(transaction=True)]


def test_choosing_a_carrier_shows_what_it_needs_and_nothing_else(open_page):
    page = open_page(UserFactory(is_superuser=True), reverse("admin:offices_carrieraccount_add"))

    for carrier, adapter in CARRIERS.items():
        page.select_option("select[name=carrier]", carrier)
        page.wait_for_function(
            "carrier => [...document.querySelectorAll('[name*=__]')].every("
            "field => (field.offsetParent !== null) === field.name.startsWith(carrier + '__'))",
            arg=carrier,
        )
        assert page.locator("[name*=__]:visible").count() == len(adapter.SETTINGS)


def test_an_account_is_added_connected_and_tested_without_leaving_the_page(open_page):
    CompanyFactory(name="Acme Dental")
    page = open_page(UserFactory(is_superuser=True), reverse("admin:offices_carrieraccount_add"))

    page.fill("[name=name]", "Own gateway")
    page.select_option("select[name=carrier]", "generic")
    page.fill("[name=generic__signing_secret]", "whsec_" + "A" * 40)
    page.click("button[name=_save], input[name=_save]")

    page.wait_for_selector("text=Now connect it")
    account = CarrierAccount.objects.get()
    assert page.input_value("#webhook-address").endswith(f"/webhooks/generic/{account.public_id}/")
    assert page.locator("ol.carrier-steps li").count() == len(CARRIERS["generic"].STEPS)
    page.click("text=Test this connection")
    page.wait_for_selector("text=this account only receives")
    assert "No genuine webhook has come yet" in page.inner_text("body")


def test_the_page_fits_a_phone(open_page):
    account = CarrierAccountFactory(twilio=True)
    path = reverse("admin:offices_carrieraccount_change", args=[account.pk])
    page = open_page(UserFactory(is_superuser=True), path, viewport={"width": 390, "height": 800})

    assert page.evaluate("document.documentElement.scrollWidth") <= 390
