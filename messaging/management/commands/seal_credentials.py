"""manage.py seal_credentials: seal the carriers' secrets anew, after SECRET_KEY has changed."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.template.defaultfilters import pluralize

from messaging.admin.columns import moment
from offices.models import CarrierAccount


class Command(BaseCommand):
    help = (
        "Seal every secret of every carrier account with the current SECRET_KEY. Former keys stand in "
        "SECRET_KEY_FALLBACKS until this has run."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        sealed = accounts = 0
        lost: list[str] = []
        for account in CarrierAccount.objects.select_related("company").order_by("pk").iterator(chunk_size=100):
            count = account.seal_again()
            sealed += count
            accounts += bool(count)
            lost += [
                f"{account.company}, {account} (account {account.pk}): {secret.name} of {moment(secret.added_at)}"
                for name in dict.fromkeys(one["name"] for one in account.secrets)
                for secret in account.kept_secrets(name)
                if not account.is_readable(secret.id)
            ]
        self.stdout.write(
            f"Sealed with the current SECRET_KEY: {sealed} secret{pluralize(sealed)} "
            f"of {accounts} account{pluralize(accounts)}."
        )
        if lost:
            raise CommandError(
                "Sealed with a key that is neither SECRET_KEY nor in SECRET_KEY_FALLBACKS; enter them anew, or bring "
                "that key back:\n" + "\n".join(f"  {one}" for one in lost)
            )
