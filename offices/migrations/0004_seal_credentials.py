"""What accounts need at their carriers: secrets are sealed, the rest becomes settings."""

import secrets
from typing import Any

from django.db import migrations
from django.utils import timezone

from offices.credentials import seal, unseal

OPEN = {"account_sid", "send_url", "api_base"}


def forwards(apps: Any, schema_editor: Any) -> None:
    for account in apps.get_model("offices", "CarrierAccount").objects.exclude(credentials={}):
        account.settings = {name: value for name, value in account.credentials.items() if name in OPEN}
        account.secrets = [
            {
                "id": secrets.token_hex(4),
                "name": name,
                "sealed": seal(str(value)),
                "added_at": timezone.now().isoformat(),
                "added_by": "",
            }
            for name, value in account.credentials.items()
            if name not in OPEN
        ]
        account.credentials = {}
        account.save(update_fields=["settings", "secrets", "credentials"])


def backwards(apps: Any, schema_editor: Any) -> None:
    for account in apps.get_model("offices", "CarrierAccount").objects.all():
        # Of several secrets of one name the newest, which is the last, is the one in use.
        account.credentials = {**account.settings, **{one["name"]: unseal(one["sealed"]) for one in account.secrets}}
        account.settings, account.secrets = {}, []
        account.save(update_fields=["settings", "secrets", "credentials"])


class Migration(migrations.Migration):
    dependencies = [("offices", "0003_carrier_account_settings_and_secrets")]
    operations = [migrations.RunPython(forwards, backwards)]
