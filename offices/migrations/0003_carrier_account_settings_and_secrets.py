"""Carrier accounts get settings, sealed secrets, limits, and who answers STOP and HELP."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("offices", "0002_help_message_append_only"),
    ]

    operations = [
        migrations.AddField(
            model_name="carrieraccount",
            name="help_answered_by",
            field=models.CharField(
                choices=[("portal", "We reply"), ("carrier", "The carrier replies")],
                default="portal",
                help_text="Only our answer is the office's own HELP message. Switch the carrier's off, if it has one.",
                max_length=8,
                verbose_name="who answers HELP",
            ),
        ),
        migrations.AddField(
            model_name="carrieraccount",
            name="secrets",
            field=models.JSONField(blank=True, default=list, editable=False),
        ),
        migrations.AddField(
            model_name="carrieraccount",
            name="segments_per_minute",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="The most that leave through this account, as its 10DLC registration allows. Empty: no limit.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="carrieraccount",
            name="settings",
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.AddField(
            model_name="carrieraccount",
            name="stop_answered_by",
            field=models.CharField(
                choices=[("portal", "We reply"), ("carrier", "The carrier replies")],
                default="portal",
                help_text="One STOP gets one confirmation. When the webhook says that the carrier has replied, we never do.",
                max_length=8,
                verbose_name="who answers STOP",
            ),
        ),
        migrations.AddField(
            model_name="number",
            name="segments_per_minute",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="The most that leave from this number, as the carrier allows. Empty: no limit but the account's.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="carrieraccount",
            name="carrier",
            field=models.CharField(
                choices=[
                    ("console", "Console (log and table; demo and tests)"),
                    ("twilio", "Twilio"),
                    ("signalwire", "SignalWire"),
                    ("telnyx", "Telnyx"),
                    ("bandwidth", "Bandwidth"),
                    ("plivo", "Plivo"),
                    ("vonage", "Vonage (Messages API)"),
                    ("vonage_sms", "Vonage (SMS API)"),
                    ("dialpad", "Dialpad"),
                    ("sinch", "Sinch"),
                    ("infobip", "Infobip"),
                    ("aws", "AWS End User Messaging"),
                    ("generic", "Generic (any gateway, by the portal's own format)"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="carrieraccount",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("segments_per_minute__isnull", True), ("segments_per_minute__gt", 0), _connector="OR"
                ),
                name="carrier_account_limit_above_zero",
            ),
        ),
        migrations.AddConstraint(
            model_name="number",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("segments_per_minute__isnull", True), ("segments_per_minute__gt", 0), _connector="OR"
                ),
                name="number_limit_above_zero",
            ),
        ),
    ]
