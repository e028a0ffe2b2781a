"""Updates to stakeholders, who gets them, and what is published. Each function locks the incident first."""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.urls import reverse

from accounts.models import User
from accounts.permissions import at_least
from catalog.models import Service
from core.errors import Invalid, Missing, NotAllowed, Refused
from core.words import duration
from incidents import timeline
from incidents.models import (
    Incident,
    Kind,
    PostLevel,
    PostState,
    PublicPost,
    Severity,
    Status,
    StatusComponent,
    Subscription,
    Update,
    UpdateMail,
)
from incidents.rules import drill_mark
from incidents.transitions import clean_text, lock_incident, refuse_impact_as_changed
from incidents.updates import queries, rules
from notifications.transitions import cancel_topic, notify
from timers.models import Timer
from timers.transitions import cancel_timer, set_timer, set_timers

OVERDUE = "updates.overdue"
MAIL = "updates.mail"
UNREACHED = "updates.unreached"

MAX_IMPACT = 300
MAX_ACTION = 4000
MAX_PUBLIC = 4000
SENT_TWICE = timedelta(minutes=1)


def topic(incident: Incident) -> str:
    """Of reminders. An acknowledgement ends the incident's own topic, and these have nothing to do with it."""
    return f"incident:{incident.pk}:updates"


# --- updates --------------------------------------------------------------------------------------------------


@transaction.atomic
def post_update(
    *, incident_id: int, impact: str, action: str, next_minutes: int | None, by: User | None, now: datetime,
    by_name: str = "", sets_impact: bool = True, seen: str | None = None,
) -> Update:  # fmt: skip
    """Tell stakeholders what is hurt, what is done, and when they hear more.

    `next_minutes` None takes the cadence of the severity, 0 promises nothing. An update stays possible after the end,
    to say that it is over; it promises nothing then. `sets_impact`: the banner says the same impact from now on.
    `seen` is the impact that the person was looking at; Refused when it is no longer that, nor what the update says.
    The same words of the same person within a minute are a form that was sent twice: they are sent once.
    """
    incident = lock_incident(incident_id)
    impact, action = clean_text(impact).strip(), clean_text(action).strip()
    _check_words(impact, action)
    last = queries.updates_of(incident.pk).first()
    if last is not None and _is_the_same(last, impact, action, by=by, now=now):
        return last
    if seen is not None and impact != incident.impact != clean_text(seen).strip():
        refuse_impact_as_changed(incident, now=now)
    due_at = _promise(incident, next_minutes, now=now)
    if sets_impact and impact != incident.impact:
        incident.impact = impact
    incident.last_update_at = now
    number = queries.update_count(incident) + 1
    update = Update.objects.create(
        incident=incident, seq=incident.last_seq + 1, author=by, author_name=(by_name or str(by or timeline.SYSTEM))[:120],
        at=now, impact=impact, action=action, next_update_at=due_at,
    )  # fmt: skip
    mails = _mail(update, incident, now=now)
    _promise_until(incident, due_at, now=now, also=["impact", "last_update_at"])
    timeline.record(
        incident, Kind.UPDATE_POSTED, at=now, actor=by, actor_name=by_name,
        text=f"sent update {number}: {impact}\n{action}",
        data={
            "update": update.pk, "number": number, "impact": impact, "action": action, "mails": mails,
            "next_update_at": due_at.isoformat() if due_at else None,
        },
    )  # fmt: skip
    return update


def _is_the_same(last: Update, impact: str, action: str, *, by: User | None, now: datetime) -> bool:
    same_words = (last.impact, last.action) == (impact, action)
    return by is not None and last.author_id == by.pk and same_words and now - last.at < SENT_TWICE


def _check_words(impact: str, action: str) -> None:
    fields: dict[str, list[str]] = {}
    if not impact:
        fields["impact"] = ["Say who is hurt and how much."]
    elif len(impact) > MAX_IMPACT:
        fields["impact"] = [f"At most {MAX_IMPACT} characters; this has {len(impact):,}."]
    if not action:
        fields["action"] = ["Say what is done about it."]
    elif len(action) > MAX_ACTION:
        fields["action"] = [f"At most {MAX_ACTION:,} characters; this has {len(action):,}."]
    if fields:
        raise Invalid("The update was not sent.", fields=fields)


def _promise(incident: Incident, next_minutes: int | None, *, now: datetime) -> datetime | None:
    if not incident.is_open or next_minutes == 0:
        return None
    promised = None
    if next_minutes is not None:
        if not 0 < next_minutes <= rules.LONGEST_PROMISE // timedelta(minutes=1):
            sentence = "From 1 minute to 24 hours from now; 0 promises nothing."
            raise Invalid(sentence, fields={"next_minutes": [sentence]})
        promised = now + timedelta(minutes=next_minutes)
    return rules.next_due(
        posted_at=now, promised=promised, severity=incident.severity, minutes=settings.MUSTER_UPDATE_MINUTES
    )


def _promise_until(
    incident: Incident,
    due_at: datetime | None,
    *,
    now: datetime,
    began: datetime | None = None,
    also: Collection[str] = (),
) -> None:
    """Set the clock, which runs since `began`, and its timer, or stop both. Reminders of the last promise end."""
    incident.next_update_at = due_at
    incident.next_update_from = (began or now) if due_at else None
    incident.update_nags = 0
    incident.save(update_fields=["next_update_at", "next_update_from", "update_nags", *also])
    cancel_topic(topic=topic(incident), now=now)
    if due_at is None:
        cancel_timer(kind=OVERDUE, key=str(incident.pk))
    else:
        _arm(incident, due_at=due_at, now=now)


def _arm(incident: Incident, *, due_at: datetime, now: datetime) -> None:
    set_timer(kind=OVERDUE, key=str(incident.pk), due_at=due_at, now=now, payload={"incident": incident.pk})


# --- the clock, for callers that hold the lock ----------------------------------------------------------------


def start_clock(incident: Incident, *, now: datetime) -> None:
    """Somebody took charge, so stakeholders hear within the cadence. A promise that was made before stays."""
    every = rules.cadence(incident.severity, settings.MUSTER_UPDATE_MINUTES)
    if every is not None and incident.next_update_at is None:
        _promise_until(incident, now + every, now=now)


def follow_severity(incident: Incident, *, now: datetime) -> None:
    """It got worse, so the next update comes sooner. Nothing is due before somebody has taken charge."""
    if incident.next_update_at is None and incident.status == Status.TRIGGERED:
        return
    began = incident.next_update_from
    due_at = rules.after_severity_change(
        due_at=incident.next_update_at, last_at=began, severity=incident.severity,
        minutes=settings.MUSTER_UPDATE_MINUTES, now=now,
    )  # fmt: skip
    if due_at is not None and due_at != incident.next_update_at:
        _promise_until(incident, due_at, now=now, began=began)


def stop_clock(incident: Incident, *, now: datetime) -> None:
    if incident.next_update_at is not None:
        _promise_until(incident, None, now=now)


def nag(incident: Incident, *, now: datetime) -> None:
    """The promised update is late: remind who commands, and come again. Does nothing when it is not late any more."""
    if not incident.is_open or incident.next_update_at is None:
        return
    if incident.next_update_at > now:
        _arm(incident, due_at=incident.next_update_at, now=now)
        return
    incident.update_nags += 1
    incident.save(update_fields=["update_nags"])
    times = incident.update_nags
    people = queries.whom_to_remind(incident, more=rules.tells_more(times))
    late = now - incident.next_update_at
    for person in people:
        _remind(incident, person, times=times, late=late, now=now)
    if rules.says_so(times):
        names = ", ".join(str(person) for person in people)
        since = f"is {duration(late)} late" if late >= timedelta(minutes=1) else "is due"
        timeline.record(
            incident, Kind.UPDATE_OVERDUE, at=now,
            text=f"The update that was promised to stakeholders {since}. "
            + (f"Reminded {names}" if names else "Nobody commands, so nobody was reminded"),
            data={
                "due_at": incident.next_update_at.isoformat(), "told": [person.pk for person in people], "times": times,
            },
        )  # fmt: skip
    every = (
        rules.cadence(incident.severity, settings.MUSTER_UPDATE_MINUTES)
        or incident.next_update_at - incident.next_update_from
    )
    _arm(incident, due_at=now + rules.nag_again(times, every), now=now)


def _remind(incident: Incident, person: User, *, times: int, late: timedelta, now: datetime) -> None:
    drill = drill_mark(incident.is_drill)
    since = f"{duration(late)} ago" if late >= timedelta(minutes=1) else "now"
    notify(
        recipient=person,
        dedupe_key=f"update:{incident.pk}:{incident.next_update_at.isoformat()}:{times}:{person.pk}",
        topic=topic(incident),
        urgency=incident.urgency,
        title=f"{drill}SEV{incident.severity} {incident.service.name}: stakeholders wait for an update",
        body="\n".join(
            [
                f"Incident: {incident.title} ({incident.ref})",
                f"Was due: {since}",
                f"Impact last said: {incident.impact or 'nothing yet'}",
                "Expected of you: send an update, or ask somebody to do it",
            ]
        ),
        link=reverse("incidents:update", args=[incident.pk]),
        context={
            "kind": "update", "ref": incident.ref, "severity": f"SEV{incident.severity}", "title": incident.title,
            "service": incident.service.slug, "service_name": incident.service.name, "drill": incident.is_drill,
            "due_at": incident.next_update_at.isoformat(), "times": times,
        },
        now=now,
    )  # fmt: skip


# --- who gets them --------------------------------------------------------------------------------------------


def _mail(update: Update, incident: Incident, *, now: datetime) -> int:
    """A row for each address and a timer for each row, in two statements. How many."""
    wanted = queries.subscriptions_for(incident)
    mails = UpdateMail.objects.bulk_create(
        UpdateMail(update=update, subscription=subscription, email=subscription.email)
        for subscription in wanted
    )
    set_timers([Timer(kind=MAIL, key=str(mail.pk), due_at=now) for mail in mails], now=now)
    return len(mails)


@transaction.atomic
def subscribe(
    *, email: str, user: User | None, incident_id: int | None, service_id: int | None, min_severity: int, by: User,
    now: datetime,
) -> Subscription:  # fmt: skip
    """Updates by e-mail: of one incident, of one service, or (neither) of all. `user` None: somebody without an account.

    Again for the same address and thing only changes the severity. Raises NotAllowed, Invalid, Missing.
    """
    if user != by and not at_least(by, "responder"):
        raise NotAllowed("Responders, managers and admins may subscribe others.")
    email = clean_text(email).strip().lower()
    fields: dict[str, list[str]] = {}
    try:
        validate_email(email)
    except ValidationError:
        fields["email"] = ["Write an e-mail address, such as ada@example.org."]
    if len(email) > 254:
        fields["email"] = ["At most 254 characters."]
    if min_severity not in Severity.values:
        fields["min_severity"] = ["One of SEV1, SEV2, SEV3, SEV4."]
    if incident_id is not None and service_id is not None:
        fields["service"] = ["One incident or one service, not both."]
    if fields:
        raise Invalid("Nobody was subscribed.", fields=fields)
    if incident_id is not None and not Incident.objects.filter(pk=incident_id).exists():
        raise Missing(f"There is no incident INC-{incident_id}.")
    if service_id is not None and not Service.objects.filter(pk=service_id).exists():
        raise Missing("There is no such service.")
    # An address that is an account's belongs to it, whoever subscribed it: so its owner sees and stops it.
    user = user or User.objects.filter(email__iexact=email).first()
    same = Subscription.objects.filter(
        email=email, incident_id=incident_id, service_id=service_id, ended_at__isnull=True
    )
    existing = same.first()
    if existing is None:
        try:
            with transaction.atomic():
                return Subscription.objects.create(
                    email=email, user=user, incident_id=incident_id, service_id=service_id, min_severity=min_severity,
                    created_by=by, created_at=now,
                )  # fmt: skip
        except IntegrityError:  # somebody else did the same this moment
            existing = same.get()
    existing.min_severity, existing.user = min_severity, user
    existing.save(update_fields=["min_severity", "user"])
    return existing


@transaction.atomic
def unsubscribe(*, subscription_id: int, now: datetime) -> None:
    """Nothing more is sent, not even what waits. Again changes nothing."""
    Subscription.objects.filter(pk=subscription_id, ended_at__isnull=True).update(ended_at=now)


# --- what is published ----------------------------------------------------------------------------------------


def check_may_publish(incident: Incident, by: User) -> None:
    """Raises NotAllowed with who may."""
    if not rules.may_publish(
        is_manager=at_least(by, "manager"),
        commands=incident.commander_id == by.pk,
        communicates=queries.communicates(incident, by),
    ):
        raise NotAllowed("The commander, whoever holds communications, managers and admins may publish.")


def check_can_be_published(incident: Incident) -> None:
    """Raises Refused with what stands against it, whoever asks."""
    if incident.is_drill:
        raise Refused("A drill can not be published.", code="drill_not_public")
    if not settings.MUSTER_PUBLIC_STATUS:
        raise Refused("This installation has no public status page.", code="public_status_off")


@transaction.atomic
def publish(
    *, incident_id: int, state: str, level: str, components: Collection[StatusComponent], title: str, text: str,
    by: User, now: datetime,
) -> PublicPost:  # fmt: skip
    """Put words on the public page. Nothing else ever does. Raises Refused, NotAllowed, Invalid."""
    incident = lock_incident(incident_id)
    check_may_publish(incident, by)
    check_can_be_published(incident)
    title, text = clean_text(title).strip(), clean_text(text).strip()
    fields: dict[str, list[str]] = {}
    if state not in PostState.values:
        fields["state"] = [f"One of {', '.join(PostState.values)}."]
    if level not in PostLevel.values:
        fields["level"] = [f"One of {', '.join(PostLevel.values)}."]
    if not 0 < len(title) <= 200:
        fields["title"] = ["A headline for customers, at most 200 characters."]
    if not 0 < len(text) <= MAX_PUBLIC:
        fields["text"] = [f"What customers should know, at most {MAX_PUBLIC:,} characters."]
    if not components or not all(component.is_public for component in components):
        fields["components"] = ["At least one component of the public page."]
    if fields:
        raise Invalid("Nothing was published.", fields=fields)
    post = PublicPost.objects.create(
        incident=incident, state=state, level=PostLevel.NONE if state == PostState.OVER else level, title=title,
        text=text, published_by=by, published_at=now,
    )  # fmt: skip
    post.components.set(components)
    _end_reminders_of_the_story(incident, now=now)
    timeline.record(
        incident, Kind.UPDATE_PUBLISHED, at=now, actor=by,
        text=f"published for customers: {title} ({post.get_state_display().lower()})\n{text}",
        data=_post_data(post, components),
    )  # fmt: skip
    return post


@transaction.atomic
def withdraw(*, post_id: int, by: User, now: datetime) -> PublicPost:
    """Take a post off the public page; the timeline keeps it. Again changes nothing."""
    incident_id = PublicPost.objects.filter(pk=post_id).values_list("incident_id", flat=True).first()
    if incident_id is None:
        raise Missing("There is no such post.")
    incident = lock_incident(incident_id)
    check_may_publish(incident, by)
    post = PublicPost.objects.get(pk=post_id)
    if post.withdrawn_at is not None:
        return post
    post.withdrawn_at, post.withdrawn_by = now, by
    post.save(update_fields=["withdrawn_at", "withdrawn_by"])
    _end_reminders_of_the_story(incident, now=now)
    timeline.record(
        incident, Kind.UPDATE_PUBLISHED, at=now, actor=by, text=f"withdrew from the public page: {post.title}",
        data=_post_data(post, list(post.components.all())),
    )  # fmt: skip
    return post


def _story_topic(incident: Incident) -> str:
    return f"incident:{incident.pk}:public"


def _end_reminders_of_the_story(incident: Incident, *, now: datetime) -> None:
    if queries.running_story(incident) is None:
        cancel_topic(topic=_story_topic(incident), now=now)


def remind_to_end_the_story(incident: Incident, *, now: datetime) -> None:
    """It is over, and customers still read that it is not: whoever published last is asked to say so.

    For callers that hold the lock.
    """
    post = queries.running_story(incident) if settings.MUSTER_PUBLIC_STATUS else None
    if post is None:
        return
    people = (
        [post.published_by] if post.published_by.is_active else queries.whom_to_remind(incident, more=False)
    )
    for person in people:
        notify(
            recipient=person, dedupe_key=f"public:{post.pk}:{incident.fence}:{person.pk}", topic=_story_topic(incident),
            urgency="low", title=f"{incident.ref} is over, and the public page still says: {post.title}",
            body="\n".join(
                [
                    f"Incident: {incident.title} ({incident.ref})",
                    f"Customers read: {post.get_state_display()}",
                    "Expected of you: publish that it is over, or withdraw it",
                ]
            ),
            link=reverse("incidents:publish", args=[incident.pk]), context={"kind": "update", "ref": incident.ref},
            now=now,
        )  # fmt: skip


def _post_data(post: PublicPost, components: Collection[StatusComponent]) -> dict[str, object]:
    services = Service.objects.filter(component__in=components).order_by("slug")
    return {
        "post": post.pk, "state": str(post.state), "level": str(post.level),
        "components": list(services.values_list("slug", flat=True)), "withdrawn": post.withdrawn_at is not None,
    }  # fmt: skip


@transaction.atomic
def save_component(
    *, service_id: int, name: str, by: User, group: str = "", position: int = 0, is_public: bool = False
) -> StatusComponent:
    """How a service is called in public, and whether it stands there at all."""
    if not at_least(by, "manager"):
        raise NotAllowed("Managers and admins may do this.")
    name, group = clean_text(name).strip(), clean_text(group).strip()
    fields: dict[str, list[str]] = {}
    if not 0 < len(name) <= 80:
        fields["name"] = ["A name that customers know, at most 80 characters."]
    if len(group) > 80:
        fields["group"] = ["At most 80 characters."]
    if not 0 <= position <= 9999:
        fields["position"] = ["From 0 to 9999."]
    if fields:
        raise Invalid("The component was not saved.", fields=fields)
    if not Service.objects.filter(pk=service_id).exists():
        raise Missing("There is no such service.")
    component, _ = StatusComponent.objects.update_or_create(
        service_id=service_id,
        defaults={"name": name, "group": group, "position": position, "is_public": is_public},
    )
    return component
