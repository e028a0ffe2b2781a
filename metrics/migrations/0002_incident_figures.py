import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('catalog', '0001_services_and_dependencies'),
        ('incidents', '0001_incidents_and_timeline'),
        ('metrics', '0001_timeline_milestones'),
    ]

    operations = [
        migrations.CreateModel(
            name='IncidentFigures',
            fields=[
                ('incident', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='figures', serialize=False, to='incidents.incident')),
                ('severity', models.PositiveSmallIntegerField(choices=[(1, 'SEV1'), (2, 'SEV2'), (3, 'SEV3'), (4, 'SEV4')])),
                ('is_drill', models.BooleanField()),
                ('triggered_at', models.DateTimeField()),
                ('acknowledge', models.FloatField(help_text='Seconds; null: not measured.', null=True)),
                ('contain', models.FloatField(null=True)),
                ('repair', models.FloatField(null=True)),
                ('unanswered', models.CharField(blank=True, choices=[('ended_itself', 'ended_itself'), ('ended_by_hand', 'ended_by_hand'), ('open', 'open')], help_text='Why there is no time to acknowledge; empty: there is one.', max_length=16)),
                ('changed_by', models.BigIntegerField(help_text='The transaction that wrote this row last.')),
                ('service', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='catalog.service')),
            ],
            options={
                'verbose_name_plural': 'incident figures',
                'indexes': [models.Index(fields=['is_drill', 'triggered_at'], name='figures_by_time'), models.Index(fields=['changed_by'], name='figures_by_change')],
            },
        ),
    ]
