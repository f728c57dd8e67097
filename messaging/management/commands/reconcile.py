"""manage.py reconcile: compare with the carriers' own lists now, and not only in the night."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from messaging import reconciling
from messaging.carriers.base import CarrierError
from messaging.carriers.registry import CARRIERS
from offices.models import CarrierAccount


class Command(BaseCommand):
    help = (
        "Compare with the carriers' lists of texts: what never reached us is taken in, uncertain texts are settled, "
        "opt-outs at the carrier are taken over. No opt-out is ever lifted."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", type=int, help="Only the carrier account with this id.")
        parser.add_argument("--hours", type=int, help="How far back. Without: since the last comparison.")
        parser.add_argument("--dry-run", action="store_true", help="Say what would be found, and change nothing.")

    def say(self, so_far: reconciling.Findings) -> None:
        if so_far.looked_at:
            self.stdout.write(f"{self.name}: {so_far} so far")

    def handle(self, *args: Any, **options: Any) -> None:
        with_list = [name for name, carrier in CARRIERS.items() if carrier.HAS_LIST]
        accounts = CarrierAccount.objects.select_related("company").order_by("pk")
        if options["account"] is not None:
            accounts = accounts.filter(pk=options["account"])
        if options["hours"] is not None and options["hours"] < 1:
            raise CommandError("--hours is at least 1.")
        chosen = list(accounts)
        if not chosen:
            raise CommandError("There is no such carrier account.")
        failed = 0
        for account in chosen:
            self.name = name = f"{account.company}, {account} ({account.get_carrier_display()})"
            if account.carrier not in with_list:
                self.stdout.write(f"{name}: this carrier has no list to compare with.")
                continue
            try:
                found = reconciling.compare(
                    account,
                    timedelta(hours=options["hours"] or 0),
                    dry_run=options["dry_run"],
                    progress=self.say,
                )
            except CarrierError as error:
                failed += 1
                self.stderr.write(f"{name}: {error}")
                continue
            self.stdout.write(f"{name}: {found}{' (nothing was changed)' if options['dry_run'] else ''}")
        if failed:
            raise CommandError(f"{failed} of {len(chosen)} accounts could not be compared.")
