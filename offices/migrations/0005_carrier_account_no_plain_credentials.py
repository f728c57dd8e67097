"""No credential is kept in plain words any more."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("offices", "0004_seal_credentials"),
    ]

    operations = [
        migrations.RemoveField(
            model_name="carrieraccount",
            name="credentials",
        ),
    ]
