"""Each event gets room for its hash, and its moment of storing from the portal itself."""

import django.db.models.functions.datetime
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0003_carrier_health_pace_and_parts")]
    operations = [
        migrations.AlterField(
            model_name="consentevent",
            name="stored_at",
            field=models.DateTimeField(
                db_default=django.db.models.functions.datetime.Now(), default=django.utils.timezone.now
            ),
        ),
        migrations.AddField(
            model_name="consentevent",
            name="hash",
            field=models.CharField(default="", editable=False, max_length=64),
        ),
    ]
