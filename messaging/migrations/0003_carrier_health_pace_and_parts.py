"""How accounts fare and how fast they may send; parts of long texts; requests kept with method, query and headers."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0002_record_append_only"),
        ("offices", "0005_carrier_account_no_plain_credentials"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="CarrierHealth",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("last_genuine_at", models.DateTimeField(null=True, verbose_name="last genuine webhook")),
                ("last_refused_at", models.DateTimeField(null=True, verbose_name="last refused webhook")),
                ("last_refusal", models.TextField(blank=True, verbose_name="why it was refused")),
                ("refused", models.PositiveBigIntegerField(default=0, verbose_name="refused webhooks")),
                ("last_taken_at", models.DateTimeField(null=True, verbose_name="last text that the carrier took")),
                ("failures", models.PositiveIntegerField(default=0)),
                ("last_failure_at", models.DateTimeField(null=True)),
                ("last_failure", models.TextField(blank=True)),
                ("paused_until", models.DateTimeField(null=True)),
                ("reconcile_after", models.DateTimeField(null=True)),
                (
                    "reconciled_at",
                    models.DateTimeField(null=True, verbose_name="last comparison with the carrier's list"),
                ),
                ("reconciliation", models.TextField(blank=True, verbose_name="what it found")),
            ],
            options={
                "verbose_name": "state of a carrier account",
                "verbose_name_plural": "states of carrier accounts",
            },
        ),
        migrations.CreateModel(
            name="Pace",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("taken_until", models.DateTimeField()),
                ("per_minute", models.PositiveIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="TextPart",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reference", models.CharField(max_length=64)),
                ("position", models.PositiveSmallIntegerField()),
                ("total", models.PositiveSmallIntegerField()),
                ("text", models.TextField(blank=True)),
                ("carrier_message_id", models.CharField(max_length=255)),
                ("received_at", models.DateTimeField(null=True)),
                ("stored_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
        migrations.AddField(
            model_name="message",
            name="turns_held",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="webhookreceipt",
            name="headers",
            field=models.JSONField(db_default={}, default=dict, help_text="As they came, without those that sign in."),
        ),
        migrations.AddField(
            model_name="webhookreceipt",
            name="method",
            field=models.CharField(db_default="POST", default="POST", max_length=4),
        ),
        migrations.AddField(
            model_name="webhookreceipt",
            name="query",
            field=models.TextField(
                blank=True, db_default="", default="", help_text="What followed the question mark in the address."
            ),
        ),
        migrations.AlterField(
            model_name="message",
            name="media",
            field=models.JSONField(blank=True, default=list, help_text="List of {url, content_type, size}."),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(
                    ("next_attempt_at__isnull", False), models.Q(("purpose", "ordinary"), _negated=True)
                ),
                fields=["next_attempt_at"],
                name="message_reply_due",
            ),
        ),
        migrations.AddField(
            model_name="carrierhealth",
            name="account",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT, related_name="health", to="offices.carrieraccount"
            ),
        ),
        migrations.AddField(
            model_name="carrierhealth",
            name="company",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="offices.company"
            ),
        ),
        migrations.AddField(
            model_name="pace",
            name="account",
            field=models.OneToOneField(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="offices.carrieraccount"
            ),
        ),
        migrations.AddField(
            model_name="pace",
            name="company",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="offices.company"
            ),
        ),
        migrations.AddField(
            model_name="pace",
            name="number",
            field=models.OneToOneField(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="offices.number"
            ),
        ),
        migrations.AddField(
            model_name="textpart",
            name="account",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="offices.carrieraccount"
            ),
        ),
        migrations.AddField(
            model_name="textpart",
            name="company",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="offices.company"
            ),
        ),
        migrations.AddField(
            model_name="textpart",
            name="message",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="parts", to="messaging.message"
            ),
        ),
        migrations.AddField(
            model_name="textpart",
            name="number",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="offices.number"),
        ),
        migrations.AddField(
            model_name="textpart",
            name="recipient",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="messaging.recipient"
            ),
        ),
        migrations.AddIndex(
            model_name="carrierhealth",
            index=models.Index(
                condition=models.Q(("failures__gt", 0)), fields=["company"], name="carrier_health_in_trouble"
            ),
        ),
        migrations.AddConstraint(
            model_name="pace",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("account__isnull", True), ("number__isnull", False)),
                    models.Q(("account__isnull", False), ("number__isnull", True)),
                    _connector="OR",
                ),
                name="pace_of_a_number_or_an_account",
            ),
        ),
        migrations.AddIndex(
            model_name="textpart",
            index=models.Index(
                condition=models.Q(("message__isnull", True)),
                fields=["recipient", "number", "reference"],
                name="text_part_open_by_sender",
            ),
        ),
        migrations.AddIndex(
            model_name="textpart",
            index=models.Index(
                condition=models.Q(("message__isnull", True)), fields=["stored_at"], name="text_part_open"
            ),
        ),
        migrations.AddConstraint(
            model_name="textpart",
            constraint=models.UniqueConstraint(
                fields=("account", "carrier_message_id"), name="text_part_once_per_carrier_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="textpart",
            constraint=models.CheckConstraint(
                condition=models.Q(("position__gte", 1), ("position__lte", models.F("total"))),
                name="text_part_within_its_text",
            ),
        ),
    ]
