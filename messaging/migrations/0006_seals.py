"""Every event must have its hash; seals bind them."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0005_hash_events"),
        ("offices", "0005_carrier_account_no_plain_credentials"),
    ]

    operations = [
        migrations.CreateModel(
            name="Seal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField(help_text="1, 2, 3 … within the company.")),
                ("sealed_at", models.DateTimeField()),
                ("events", models.PositiveIntegerField(help_text="How many events it covers.")),
                ("first_event", models.BigIntegerField()),
                ("last_event", models.BigIntegerField()),
                (
                    "root",
                    models.CharField(help_text="Of the Merkle tree over its events, in hexadecimal.", max_length=64),
                ),
                (
                    "former",
                    models.CharField(help_text="The hash of the seal before; zeros for the first.", max_length=64),
                ),
                ("hash", models.CharField(max_length=64)),
            ],
            options={
                "ordering": ["-pk"],
            },
        ),
        migrations.CreateModel(
            name="SealedEvent",
            fields=[
                ("event_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("position", models.PositiveIntegerField(help_text="From 0, in the order of the events' ids.")),
                ("leaf", models.CharField(help_text="Of the event's id and hash, in hexadecimal.", max_length=64)),
            ],
            options={
                "ordering": ["seal", "position"],
            },
        ),
        migrations.AlterField(
            model_name="consentevent",
            name="hash",
            field=models.CharField(editable=False, max_length=64),
        ),
        migrations.AddConstraint(
            model_name="consentevent",
            constraint=models.CheckConstraint(
                condition=models.Q(("hash__regex", "^[0-9a-f]{64}$")), name="event_has_its_hash"
            ),
        ),
        migrations.AddField(
            model_name="seal",
            name="company",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="offices.company"
            ),
        ),
        migrations.AddField(
            model_name="sealedevent",
            name="company",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="offices.company"
            ),
        ),
        migrations.AddField(
            model_name="sealedevent",
            name="seal",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="leaves", to="messaging.seal"
            ),
        ),
        migrations.AddConstraint(
            model_name="seal",
            constraint=models.UniqueConstraint(fields=("company", "number"), name="seal_once_per_number"),
        ),
        migrations.AddConstraint(
            model_name="seal",
            constraint=models.UniqueConstraint(fields=("company", "former"), name="seal_chain_never_forks"),
        ),
        migrations.AddConstraint(
            model_name="seal",
            constraint=models.CheckConstraint(condition=models.Q(("events__gt", 0)), name="seal_of_something"),
        ),
        migrations.AddConstraint(
            model_name="sealedevent",
            constraint=models.UniqueConstraint(fields=("seal", "position"), name="sealed_event_once_per_position"),
        ),
    ]
