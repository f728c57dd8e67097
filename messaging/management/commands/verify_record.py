"""manage.py verify_record: find every event and seal that is not as it was sealed."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from messaging import sealing
from messaging.models import Seal
from offices.models import Company


class Command(BaseCommand):
    help = (
        "Compute every event's hash, every seal's tree and the chain of seals anew, and name whatever is not as it was "
        "sealed. Ends with 1 when there is anything. docs/record.md says what it proves."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--company", type=int, help="Only the company with this id.")
        parser.add_argument(
            "--kept", action="append", default=[], metavar="HASH", help="A seal's hash that was kept elsewhere."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        companies = Company.objects.order_by("pk")
        if options["company"] is not None:
            companies = companies.filter(pk=options["company"])
        chosen = list(companies)
        if not chosen:
            raise CommandError("There is no such company.")
        findings = 0
        for company in chosen:
            for finding in sealing.verify(company.pk):
                findings += 1
                self.stdout.write(f"{company}: {finding.words}")
            newest = Seal.objects.filter(company=company).order_by("-number").first()
            if newest is None:
                self.stdout.write(f"{company}: no seal yet.")
                continue
            self.stdout.write(
                f"{company}: seal {newest.number} of {newest.sealed_at:%Y-%m-%d %H:%M} UTC, {newest.hash}"
            )
        for kept in options["kept"]:
            if not Seal.objects.filter(company__in=chosen, hash=kept.lower()).exists():
                findings += 1
                self.stdout.write(f"The seal {kept} is in no chain: the record was written anew since it was kept.")
        if findings:
            raise CommandError(f"{findings} findings: the record is not as it was sealed.")
        self.stdout.write("The record is as it was sealed.")
