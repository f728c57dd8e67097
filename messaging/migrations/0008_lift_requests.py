"""Requests to lift an opt-out by hand, decided by a second person."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0007_seals_append_only"),
        ("offices", "0005_carrier_account_no_plain_credentials"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="LiftRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "evidence",
                    models.TextField(help_text="Who consented anew, to what, when and how; where it is kept."),
                ),
                ("requested_at", models.DateTimeField()),
                (
                    "decision",
                    models.CharField(
                        choices=[
                            ("waiting", "Waits for a decision"),
                            ("approved", "Approved"),
                            ("refused", "Refused"),
                            ("withdrawn", "Withdrawn"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("decided_at", models.DateTimeField(null=True)),
                ("note", models.TextField(blank=True)),
                (
                    "company",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="offices.company"
                    ),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "decided_event",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="messaging.consentevent",
                    ),
                ),
                (
                    "opt_out",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="lift_requests", to="messaging.optout"
                    ),
                ),
                (
                    "recipient",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="lift_requests",
                        to="messaging.recipient",
                    ),
                ),
                (
                    "requested_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "requested_event",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="messaging.consentevent"
                    ),
                ),
            ],
            options={
                "verbose_name": "lifting request",
                "ordering": ["-pk"],
                "indexes": [
                    models.Index(fields=["company", "-id"], name="lift_request_by_company"),
                    models.Index(
                        condition=models.Q(("decision", "waiting")), fields=["company"], name="lift_request_waiting"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("decision", "waiting")),
                        fields=("opt_out",),
                        name="lift_request_one_waiting_per_opt_out",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("decided_at", None),
                                ("decided_by", None),
                                ("decided_event", None),
                                ("decision", "waiting"),
                            ),
                            models.Q(
                                models.Q(("decision", "waiting"), _negated=True),
                                ("decided_at__isnull", False),
                                ("decided_by__isnull", False),
                                ("decided_event__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="lift_request_decided_by_somebody",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("decision", "waiting"),
                            models.Q(("decided_by", models.F("requested_by")), ("decision", "withdrawn")),
                            models.Q(
                                ("decision__in", ["approved", "refused"]),
                                models.Q(("decided_by", models.F("requested_by")), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="lift_request_decided_by_a_second_person",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("evidence", ""), _negated=True), name="lift_request_has_evidence"
                    ),
                ],
            },
        ),
    ]
