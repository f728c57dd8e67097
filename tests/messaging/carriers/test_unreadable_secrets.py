"""A secret that was sealed with a lost SECRET_KEY: nothing is taken unchecked, and nothing genuine is lost (N6)."""

import base64

import pytest

from messaging.models import Message, WebhookReceipt
from tests.messaging.carriers.dialect import Case, Dialect, Posted
from tests.messaging.carriers.dialects import infobip, sinch
from tests.messaging.carriers.scene import PUBLIC_URL, a_stop, scene, with_dialects

pytestmark = [pytest.mark.django_db, pytest.mark.behaviour("N6")]
OTHER_KEY = "another key of the portal " * 3


@pytest.fixture(autouse=True)
def _public_url(settings):
    settings.PUBLIC_URL = PUBLIC_URL


@with_dialects(where=lambda dialect: dialect.signing_secret in dialect.secrets)
def test_a_genuine_stop_comes_again_until_the_key_is_there_and_is_obeyed_then(dialect: Dialect, settings):
    given, case = scene(dialect), a_stop(dialect)
    former = settings.SECRET_KEY

    settings.SECRET_KEY = OTHER_KEY
    meanwhile = given.deliver(given.posted(case))
    stored = Message.objects.count(), WebhookReceipt.objects.count()
    settings.SECRET_KEY_FALLBACKS = [former]
    again = given.deliver(given.posted(case))

    assert (meanwhile.status_code, stored) == (503, (0, 0))
    assert again.status_code == 200
    assert Message.objects.get(direction="in").outcome == "opted_out"


@pytest.mark.parametrize(
    ("dialect", "name"), [(sinch.DIALECT, "webhook_secret"), (infobip.DIALECT, "hmac_secret")], ids=["sinch", "infobip"]
)
def test_who_signs_is_not_taken_unsigned_while_the_secret_cannot_be_read(dialect: Dialect, name: str, settings):
    given, case = scene(dialect), a_stop(dialect)
    account = given.account
    account.settings = {**account.settings, "webhook_user": "somebody"}
    account.save(update_fields=["settings"])
    former = settings.SECRET_KEY
    settings.SECRET_KEY = OTHER_KEY
    account.add_secret(name, "lost soon")
    account.add_secret("webhook_password", "known to others")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = former, []
    account.add_secret("webhook_password", "a password")

    answer = given.deliver(by_basic(dialect, case, "somebody:a password"))

    assert answer.status_code == 503
    assert not Message.objects.exists()


def by_basic(dialect: Dialect, case: Case, pair: str) -> Posted:
    signed = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return Posted(dialect.payload(case), dialect.content_type, signed)
