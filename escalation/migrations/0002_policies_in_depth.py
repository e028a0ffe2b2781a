import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import accounts.models
import escalation.models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_people_teams_tokens"),
        ("catalog", "0001_services_and_dependencies"),
        ("escalation", "0001_policies_and_runs"),
        ("incidents", "0002_war_room"),
        ("oncall", "0001_schedules_and_layers"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="CoverageGap",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("policy_name", models.CharField(max_length=120)),
                (
                    "level",
                    models.PositiveSmallIntegerField(blank=True, help_text="Null: all tiers.", null=True),
                ),
                ("level_name", models.CharField(blank=True, max_length=80)),
                ("loop", models.PositiveSmallIntegerField(default=0)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("skipped", "The next tier was paged at once"),
                            ("held", "The next tier was paged, and this one waits for somebody"),
                            ("waited", "Its time passed, then the next tier was paged"),
                            ("nobody", "No tier had anybody, so the catch-all was paged"),
                        ],
                        max_length=8,
                    ),
                ),
                ("why", models.CharField(max_length=300)),
                ("at", models.DateTimeField()),
                (
                    "look_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When it is looked again who is on call; null: not any more.",
                        null=True,
                    ),
                ),
                (
                    "hold_until",
                    models.DateTimeField(blank=True, help_text="Then the looking ends.", null=True),
                ),
                ("ended_at", models.DateTimeField(blank=True, help_text="When the hold ended.", null=True)),
                ("ended_because", models.CharField(blank=True, max_length=120)),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="MatrixCell",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "severity",
                    models.PositiveSmallIntegerField(
                        choices=[(1, "SEV1"), (2, "SEV2"), (3, "SEV3"), (4, "SEV4")]
                    ),
                ),
                (
                    "criticality",
                    models.PositiveSmallIntegerField(
                        choices=[(1, "Critical"), (2, "High"), (3, "Medium"), (4, "Low")]
                    ),
                ),
                (
                    "urgency",
                    models.CharField(
                        blank=True,
                        choices=[("high", "High"), ("low", "Low")],
                        help_text="Empty: critical and error are high, warning and info low; SEV1 and SEV2 always high.",
                        max_length=8,
                    ),
                ),
                (
                    "start_level",
                    models.PositiveSmallIntegerField(
                        blank=True, help_text="The tier that is paged first. Null: the lowest.", null=True
                    ),
                ),
                (
                    "answer_seconds",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Target for the first answer; no tier waits longer. Null: each tier's own time.",
                        null=True,
                    ),
                ),
                (
                    "commander",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "As the rotation of commanders says"),
                            ("ask", "A commander is asked"),
                            ("no", "Nobody is asked"),
                        ],
                        default="",
                        max_length=4,
                    ),
                ),
            ],
            options={
                "ordering": ["severity", "criticality"],
            },
        ),
        migrations.CreateModel(
            name="PolicyVersion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("version", models.PositiveIntegerField()),
                ("snapshot", models.JSONField()),
                ("saved_by_name", models.CharField(blank=True, max_length=120)),
                (
                    "saved_at",
                    models.DateTimeField(blank=True, help_text="Null: before versions were kept.", null=True),
                ),
                ("why", models.CharField(blank=True, max_length=300)),
            ],
            options={
                "ordering": ["policy_id", "-version"],
            },
        ),
        migrations.CreateModel(
            name="RoundRobin",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("level", models.PositiveSmallIntegerField()),
                (
                    "turn",
                    models.PositiveIntegerField(default=0, help_text="Place of the next target, from 0."),
                ),
            ],
            options={
                "ordering": ["policy_id", "level"],
            },
        ),
        migrations.RemoveConstraint(
            model_name="tiertarget",
            name="tier_target_names_its_target",
        ),
        migrations.AddField(
            model_name="policy",
            name="add_on_handoff",
            field=models.BooleanField(
                default=True,
                help_text="Whoever comes on call while a tier waits for an answer is paged as well.",
            ),
        ),
        migrations.AddField(
            model_name="policy",
            name="on_ack_timeout",
            field=models.CharField(
                choices=[
                    ("resume", "Go on at the tier of whoever acknowledged"),
                    ("restart", "Begin again with the first tier"),
                ],
                default="resume",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="policy",
            name="time_zone",
            field=models.CharField(
                blank=True,
                help_text="Of the working hours. Empty: that of the tier's schedule, else UTC.",
                max_length=64,
                validators=[accounts.models.validate_time_zone],
            ),
        ),
        migrations.AddField(
            model_name="policy",
            name="working_hours",
            field=models.JSONField(
                blank=True,
                default=escalation.models.office_hours,
                help_text='Wall-clock windows: [{"days": [0..6, Monday is 0], "start": "09:00", "end": "17:00"}]',
            ),
        ),
        migrations.AddField(
            model_name="run",
            name="handoff_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When somebody else comes on call in the present tier; null: not before due_at.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="run",
            name="origin",
            field=models.CharField(default="own", max_length=40),
        ),
        migrations.AddField(
            model_name="run",
            name="reason",
            field=models.CharField(blank=True, help_text="Why the team was called in.", max_length=300),
        ),
        migrations.AddField(
            model_name="run",
            name="started_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="run",
            name="team",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="accounts.team",
            ),
        ),
        migrations.AddField(
            model_name="tier",
            name="ack_mode",
            field=models.CharField(
                choices=[
                    ("any", "One answer is enough"),
                    ("all", "Everybody has to answer"),
                    ("quorum", "So many have to answer"),
                ],
                default="any",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="tier",
            name="channels",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=12),
                blank=True,
                default=list,
                help_text="Kinds of contact methods. Empty: by each person's own rules.",
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="tier",
            name="early",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text='What has it paged before its turn: [{"kind": "containment_missed"}, {"kind": "impact_grew"}, {"kind": "expertise", "field": "database"}]',
            ),
        ),
        migrations.AddField(
            model_name="tier",
            name="hold_limit_minutes",
            field=models.PositiveIntegerField(
                default=1440,
                help_text="How long it is looked for somebody, when when_unstaffed is hold_until_staffed.",
            ),
        ),
        migrations.AddField(
            model_name="tier",
            name="hours",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "At any time"),
                    ("in", "In working hours only"),
                    ("out", "Outside working hours only"),
                ],
                default="",
                max_length=4,
            ),
        ),
        migrations.AddField(
            model_name="tier",
            name="quorum",
            field=models.PositiveSmallIntegerField(default=2, help_text="How many, when ack_mode is quorum."),
        ),
        migrations.AddField(
            model_name="tier",
            name="round_robin",
            field=models.BooleanField(
                default=False, help_text="One target after the other, not all at once."
            ),
        ),
        migrations.AddField(
            model_name="tier",
            name="severities",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.PositiveSmallIntegerField(
                    choices=[(1, "SEV1"), (2, "SEV2"), (3, "SEV3"), (4, "SEV4")]
                ),
                blank=True,
                default=list,
                help_text="Empty: all.",
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="tier",
            name="when_unstaffed",
            field=models.CharField(
                choices=[
                    ("skip", "The next tier at once"),
                    (
                        "hold_until_staffed",
                        "The next tier at once, and this one as soon as somebody is there",
                    ),
                    ("wait", "The next tier when this one's time is up"),
                ],
                default="skip",
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="tiertarget",
            name="hours",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "At any time"),
                    ("in", "In working hours only"),
                    ("out", "Outside working hours only"),
                ],
                default="",
                max_length=4,
            ),
        ),
        migrations.AddField(
            model_name="tiertarget",
            name="severities",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.PositiveSmallIntegerField(
                    choices=[(1, "SEV1"), (2, "SEV2"), (3, "SEV3"), (4, "SEV4")]
                ),
                blank=True,
                default=list,
                help_text="Empty: all.",
                size=None,
            ),
        ),
        migrations.AlterField(
            model_name="run",
            name="incident",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="runs", to="incidents.incident"
            ),
        ),
        migrations.AlterField(
            model_name="run",
            name="status",
            field=models.CharField(
                choices=[
                    ("running", "Running"),
                    ("gathering", "Acknowledged, but more have to answer"),
                    ("catch_all", "With the catch-all"),
                    ("stopped", "Stopped"),
                ],
                default="running",
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="tiertarget",
            name="kind",
            field=models.CharField(
                choices=[
                    ("schedule", "Who is on call on a schedule"),
                    ("schedule_next", "Who is next on call on a schedule"),
                    ("user", "A person"),
                    ("team", "Everybody in a team"),
                    ("role", "Everybody with a role"),
                    ("service_primary", "The service's primary responder"),
                    ("service_secondary", "The service's secondary responder"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.UniqueConstraint(fields=("incident", "origin"), name="run_once_per_origin"),
        ),
        migrations.AddConstraint(
            model_name="tier",
            constraint=models.CheckConstraint(
                condition=models.Q(("quorum__gte", 1)), name="tier_quorum_is_somebody"
            ),
        ),
        migrations.AddConstraint(
            model_name="tier",
            constraint=models.CheckConstraint(
                condition=models.Q(("hold_limit_minutes__gte", 1)), name="tier_holds_for_a_time"
            ),
        ),
        migrations.AddConstraint(
            model_name="tiertarget",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind__in", ["schedule", "schedule_next"]), ("schedule__isnull", False)),
                    models.Q(("kind", "user"), ("user__isnull", False)),
                    models.Q(("kind", "team"), ("team__isnull", False)),
                    models.Q(("kind", "role"), models.Q(("role", ""), _negated=True)),
                    ("kind__in", ["service_primary", "service_secondary"]),
                    _connector="OR",
                ),
                name="tier_target_names_its_target",
            ),
        ),
        migrations.AddField(
            model_name="coveragegap",
            name="incident",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="coverage_gaps",
                to="incidents.incident",
            ),
        ),
        migrations.AddField(
            model_name="coveragegap",
            name="run",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="gaps", to="escalation.run"
            ),
        ),
        migrations.AddField(
            model_name="coveragegap",
            name="service",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="coverage_gaps",
                to="catalog.service",
            ),
        ),
        migrations.AddConstraint(
            model_name="matrixcell",
            constraint=models.UniqueConstraint(fields=("severity", "criticality"), name="matrix_cell_once"),
        ),
        migrations.AddConstraint(
            model_name="matrixcell",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("answer_seconds__isnull", True), ("answer_seconds__gte", 1), _connector="OR"
                ),
                name="matrix_gives_time_to_answer",
            ),
        ),
        migrations.AddField(
            model_name="policyversion",
            name="policy",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="versions", to="escalation.policy"
            ),
        ),
        migrations.AddField(
            model_name="policyversion",
            name="saved_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="roundrobin",
            name="policy",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="turns", to="escalation.policy"
            ),
        ),
        migrations.AddIndex(
            model_name="coveragegap",
            index=models.Index(
                condition=models.Q(("look_at__isnull", False)),
                fields=["look_at"],
                name="coverage_gap_looking",
            ),
        ),
        migrations.AddIndex(
            model_name="coveragegap",
            index=models.Index(fields=["-at"], name="coverage_gap_by_time"),
        ),
        migrations.AddConstraint(
            model_name="coveragegap",
            constraint=models.UniqueConstraint(
                fields=("run", "loop", "level"), name="coverage_gap_once", nulls_distinct=False
            ),
        ),
        migrations.AddConstraint(
            model_name="policyversion",
            constraint=models.UniqueConstraint(fields=("policy", "version"), name="policy_version_once"),
        ),
        migrations.AddConstraint(
            model_name="roundrobin",
            constraint=models.UniqueConstraint(fields=("policy", "level"), name="round_robin_once_per_tier"),
        ),
    ]
