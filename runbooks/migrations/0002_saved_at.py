from django.db import migrations, models
from django.utils import timezone


class Migration(migrations.Migration):

    dependencies = [
        ('runbooks', '0001_repository'),
    ]

    operations = [
        migrations.AddField(
            model_name='runbook',
            name='saved_at',
            field=models.DateTimeField(default=timezone.now, help_text='When its text or anything else of it was last written.'),
            preserve_default=False,
        ),
    ]
