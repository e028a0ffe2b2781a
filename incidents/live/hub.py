"""One hub for each web process: it learns what changed and tells every open page.

Everything here runs in the event loop; what blocks is in `reads` and runs in small pools of threads, one for those
who come in, one for entries and one for the rest, so that a crowd at the door never delays an entry.

How an entry arrives: the transition publishes "<incident>:<seq>" after its commit; the room of that incident reads
what follows its own seq, renders it once and hands the same bytes to all viewers. The message is a hint. When none
comes, the hub sees it by itself within `LOOK_EVERY`, or sooner while the broker is away.
"""

import asyncio
import logging
import signal
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import redis.asyncio
from django.conf import settings
from django.db import Error as DatabaseError
from django.utils import timezone
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from core.live import INCIDENTS
from incidents.live import presence, reads, sse
from incidents.live.reads import Sent, in_thread

LOOK_EVERY = 1.0  # s between looks at the database, so that an entry without a hint arrives soon as well
LOOK_EVERY_ALONE = 0.5  # while the broker is away
BEAT_EVERY = 2.0
COMMENT_EVERY = (
    10.0  # while the database is away and nothing else is sent, so that no proxy closes the streams
)
CHECK_EVERY = 60.0  # s between looks whether a viewer may still look
BATCH_PAUSE = 0.05  # after a batch, so that a burst becomes few batches
SENDING = 0.04
SLOTS_PAUSE = 0.2
GREET_EVERY = 5.0  # s between words about who is here; sooner when somebody comes or goes
GREET_PAUSE = 0.5
LISTS_PAUSE = 0.2
BATCH = 200  # entries
CATCH_UP = 500  # entries; who misses more reads the page again
WAITING_BYTES = 1 << 20  # what one viewer may have waiting; more than that is a viewer who does not read
STALLED = 30.0  # s in which a viewer has taken nothing
RECENT = CATCH_UP

log = logging.getLogger(__name__)


class Viewer:
    """One open stream. What is offered waits until its connection takes it."""

    def __init__(self, *, user_id: int, session_key: str, after: int | None, now: float) -> None:
        self.user_id = user_id
        self.session_key = session_key
        self.after = after or 0  # the browser has everything up to here
        self.checked_at = now
        self.told: set[int] = set()  # pages
        self.sending_since: float | None = None
        self.cut: Callable[[], object] = lambda: None
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._wake = asyncio.Event()
        self._ended = False

    def offer(self, data: bytes) -> None:
        if self._ended:
            return
        if self._waiting and self._size + len(data) > WAITING_BYTES:
            self.drop()
            return
        self._waiting.append(data)
        self._size += len(data)
        self._wake.set()

    def offer_entries(self, batch: list[Sent], joined: bytes) -> None:
        if batch[0].seq <= self.after:  # the page was read when it was further than this room
            joined = b"".join(sent.data for sent in batch if sent.seq > self.after)
        if joined:
            self.offer(joined)

    def end(self, reason: str) -> None:
        """Say why, then close."""
        if not self._ended:
            self.offer(sse.event_json("bye", {"reason": reason}))
            self._ended = True
            self._wake.set()

    def drop(self) -> None:
        """Close at once: this viewer is too slow. The browser comes again and catches up."""
        self._ended = True
        self._waiting.clear()
        self.cut()

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            if not self._waiting:
                if self._ended:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            if len(self._waiting) == 1:
                data = self._waiting.popleft()
            else:
                data = b"".join(self._waiting)
                self._waiting.clear()
            self._size = 0
            yield data


class Room:
    """Everybody who looks at one incident, and what the last of them has been sent."""

    def __init__(self, hub: "Hub", incident_id: int, seq: int) -> None:
        self.hub = hub
        self.incident_id = incident_id
        self.seq = seq
        self.viewers: set[Viewer] = set()
        self.recent: deque[Sent] = deque(maxlen=RECENT)
        self.slots: bytes | None = None
        self.here: bytes | None = None
        self._wanted = seq
        self._wake = asyncio.Event()
        self._wake.set()  # what was committed while this room was being opened
        self._repaint = asyncio.Event()
        self._repaint.set()
        self._tasks = [asyncio.create_task(self._bring_entries()), asyncio.create_task(self._bring_slots())]

    def notice(self, seq: int) -> None:
        if seq > self._wanted:
            self._wanted = seq
            self._wake.set()

    def missed(self, after: int) -> list[Sent] | None:
        """What follows `after` up to this room's seq, from memory. None: not all of it is there."""
        if after >= self.seq:
            return []
        if self.recent and self.recent[0].seq <= after + 1:
            return [sent for sent in self.recent if sent.seq > after]
        return None

    async def _bring_entries(self) -> None:
        failing = 0.0
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                batch = await in_thread(self.hub.senders, reads.entries, self.incident_id, self.seq, BATCH)
            except Exception as error:  # the database is away, or an entry cannot be rendered
                self.hub.complain("The entries of INC-%s cannot be read: %s", self.incident_id, error)
                failing = min(max(failing * 2, 0.5), 5.0)
                self._wake.set()
                await asyncio.sleep(failing)
                continue
            failing = 0.0
            if batch:
                self.seq = batch[-1].seq
                self.recent.extend(batch)
                joined = b"".join(sent.data for sent in batch)
                for viewer in list(self.viewers):
                    viewer.offer_entries(batch, joined)
                self._repaint.set()
            elif self._wanted > self.seq:
                self._wanted = self.seq  # a hint of something that is not there
            if len(batch) == BATCH or self._wanted > self.seq:
                self._wake.set()
            if batch:
                await asyncio.sleep(BATCH_PAUSE)

    async def _bring_slots(self) -> None:
        """After the entries, so never older than they are; and not as often, as they are all drawn anew."""
        wait = SLOTS_PAUSE
        while True:
            await self._repaint.wait()
            # Rendering would take turns with the loop, which is sending the entries now.
            await asyncio.sleep(SENDING)
            self._repaint.clear()
            try:
                self.slots = await in_thread(self.hub.painters, reads.slots, self.incident_id)
            except Exception as error:
                self.hub.complain("The state of INC-%s cannot be read: %s", self.incident_id, error)
                wait = min(wait * 2, 5.0)
                self._repaint.set()
            else:
                wait = SLOTS_PAUSE
                for viewer in list(self.viewers):
                    viewer.offer(self.slots)
            await asyncio.sleep(wait)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()


class Hub:
    def __init__(self) -> None:
        self.rooms: dict[int, Room] = {}
        self.lists: set[Viewer] = set()
        self.hears = False  # the broker
        self.sees = True  # the database
        self.closing = False
        self.doors = ThreadPoolExecutor(2, "live-door")
        self.senders = ThreadPoolExecutor(1, "live-send")
        self.painters = ThreadPoolExecutor(1, "live-paint")
        self._changed: set[int] = set()
        self._lists_wake = asyncio.Event()
        self._seen: dict[int, int] = {}
        self._mark: int | None = None
        self._someone = asyncio.Event()
        self._look_now = asyncio.Event()
        self._complained = 0.0
        self._greet_now = asyncio.Event()
        self._presence = presence.Presence()
        self._names = presence.Names()
        self.loop = asyncio.get_running_loop()
        self._tasks = [
            asyncio.create_task(self._forever(work))
            for work in (self._listen, self._watch, self._tell_lists, self._greet)
        ]
        self.senders.submit(reads.warm_up)

    # --- who comes and goes -----------------------------------------------------------------------

    @property
    def viewers(self) -> list[Viewer]:
        return [*self.lists, *(viewer for room in self.rooms.values() for viewer in room.viewers)]

    def enter_lists(self, viewer: Viewer) -> None:
        self.lists.add(viewer)
        self._someone.set()

    def enter_room(self, viewer: Viewer, incident_id: int, seq: int) -> Room:
        room = self.rooms.get(incident_id)
        if room is None:
            room = self.rooms[incident_id] = Room(self, incident_id, seq)
        room.viewers.add(viewer)
        self._someone.set()
        self._greet_now.set()
        return room

    def leave(self, viewer: Viewer, incident_id: int | None) -> None:
        self.lists.discard(viewer)
        room = self.rooms.get(incident_id) if incident_id is not None else None
        if room is not None:
            room.viewers.discard(viewer)
            self._greet_now.set()
            if not room.viewers:
                room.close()
                del self.rooms[room.incident_id]
        if not self.rooms and not self.lists:
            self._someone.clear()

    async def missed(self, room: Room, after: int) -> bytes:
        """Everything after `after` up to the seq that the room has reached; call it right after `enter_room`, as what
        follows goes to the viewer's queue already."""
        upto = room.seq
        missed = room.missed(after)
        if missed is None:
            if upto - after > CATCH_UP:
                return sse.event_json("reload", {"seq": upto})
            missed = await in_thread(self.doors, reads.entries, room.incident_id, after, upto - after)
        return b"".join(sent.data for sent in missed if sent.seq <= upto)

    # --- how it learns of changes -----------------------------------------------------------------

    def notice(self, incident_id: int, seq: int) -> None:
        room = self.rooms.get(incident_id)
        if room is not None:
            room.notice(seq)
        if self._seen.get(incident_id, -1) < seq:
            self._seen[incident_id] = seq
            self._changed.add(incident_id)
            self._lists_wake.set()

    async def _forever(self, work: Callable[[], Awaitable[None]]) -> None:
        wait = 0.2
        while True:
            begun = self.loop.time()
            try:
                await work()
            except Exception as error:  # a hub that has stopped would leave every page still, without a word
                self.complain("Live pages: %s fails: %s", work.__name__, error)
            wait = 0.2 if self.loop.time() - begun > 30 else min(wait * 1.6, 3.0)
            await asyncio.sleep(wait)

    async def _listen(self) -> None:
        broker = redis.asyncio.Redis.from_url(
            settings.REDIS_URL, socket_connect_timeout=3, socket_timeout=3, retry=Retry(NoBackoff(), 0)
        )
        try:
            async with broker.pubsub(ignore_subscribe_messages=True) as pubsub:
                await pubsub.subscribe(INCIDENTS)
                self.hears = True
                self._look_now.set()
                asked = self.loop.time()
                while True:
                    message = await pubsub.get_message(timeout=5)
                    if message is not None:
                        with suppress(ValueError):
                            self.notice(*map(int, message["data"].split(b":")))
                    # A connection that died without a word is found by asking.
                    elif self.loop.time() - asked > 5:
                        asked = self.loop.time()
                        await pubsub.ping()
        finally:
            self.hears = False
            self._look_now.set()  # what was published while nobody listened
            await broker.aclose()

    async def _watch(self) -> None:
        """Look for oneself, and tell the viewers that somebody is looking: the beat means "you miss nothing"."""
        beat_at = comment_at = 0.0
        while True:
            await self._someone.wait()
            try:
                await self._look()
                self.sees = True
            except Exception as error:
                self.sees = False
                self.complain("Live pages see nothing: %s", error)
            now = self.loop.time()
            if self.sees and now - beat_at >= BEAT_EVERY - 0.2:
                beat_at = now
                for viewers in (self.lists, *(room.viewers for room in self.rooms.values())):
                    beat = self.beat(viewers)
                    for viewer in list(viewers):
                        viewer.offer(beat)
            elif now - max(beat_at, comment_at) >= COMMENT_EVERY:
                comment_at = now
                for viewer in self.viewers:
                    viewer.offer(sse.COMMENT)
            for viewer in self.viewers:
                if viewer.sending_since is not None and now - viewer.sending_since > STALLED:
                    viewer.drop()
            self._look_now.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY if self.hears else LOOK_EVERY_ALONE):
                    await self._look_now.wait()

    async def _look(self) -> None:
        look = in_thread(self.painters, reads.changed, list(self.rooms), self._mark)
        self._mark, changed = await look
        for incident_id, seq in changed.items():
            self.notice(incident_id, seq)
        if len(self._seen) > 10_000:
            self._seen = changed
        now = self.loop.time()
        due = [viewer for viewer in self.viewers if now - viewer.checked_at > CHECK_EVERY][:50]
        if due:
            sessions = {viewer.session_key: viewer.user_id for viewer in due}
            welcome = await in_thread(self.doors, reads.still_welcome, sessions)
            for viewer in due:
                viewer.checked_at = now
                if viewer.session_key not in welcome:
                    viewer.end("signed_out")

    async def _tell_lists(self) -> None:
        """Tell the lists which incidents changed, and each person of a page that waits."""
        while True:
            await self._lists_wake.wait()
            await asyncio.sleep(LISTS_PAUSE)
            self._lists_wake.clear()
            changed, self._changed = self._changed, set()
            if self.lists:
                data = sse.event_json("changed", {"ids": sorted(changed)[:1000]})
                for viewer in list(self.lists):
                    viewer.offer(data)
            users = {viewer.user_id for viewer in self.viewers}
            if users:
                try:
                    calls = await in_thread(self.painters, reads.waiting_calls, users, changed)
                except Exception:
                    self._changed |= changed  # or nobody here would hear of these pages
                    self._lists_wake.set()
                    raise
                self.call(self.viewers, calls)

    async def _greet(self) -> None:
        """Tell every room who is in it, over all processes. Without the broker: who is in it here."""
        broker = redis.asyncio.Redis.from_url(
            settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=1, retry=Retry(NoBackoff(), 0)
        )
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(GREET_EVERY if self.rooms else None):
                        await self._greet_now.wait()
                await asyncio.sleep(GREET_PAUSE)  # a crowd comes in together
                self._greet_now.clear()
                own = {pk: {viewer.user_id for viewer in room.viewers} for pk, room in self.rooms.items()}
                try:
                    everybody = await self._presence.exchange(broker, own)
                except (redis.RedisError, OSError):
                    everybody = own
                await self._tell_rooms(everybody)
        finally:
            await broker.aclose()

    async def _tell_rooms(self, everybody: dict[int, set[int]]) -> None:
        unknown = self._names.missing({user_id for users in everybody.values() for user_id in users})
        if unknown:
            try:
                self._names.keep(await in_thread(self.doors, reads.names, unknown))
            except DatabaseError as error:
                self.complain("Nobody's name can be read: %s", error)
        for incident_id, users in everybody.items():
            room = self.rooms.get(incident_id)
            here = presence.told(self._names.of(users))
            if room is None or room.here == here:
                continue
            room.here = here
            for viewer in list(room.viewers):
                viewer.offer(here)

    @staticmethod
    def beat(viewers: Collection[Viewer]) -> bytes:
        """How many look tells each browser how long to wait with what it fetches for itself."""
        now = timezone.now().isoformat(timespec="milliseconds")
        return sse.event_json("beat", {"now": now, "viewers": len(viewers)})

    @staticmethod
    def call(viewers: Iterable[Viewer], calls: list[reads.Call]) -> None:
        for viewer in viewers:
            for call in calls:
                if call.user_id == viewer.user_id and call.page_id not in viewer.told:
                    viewer.told.add(call.page_id)
                    viewer.offer(call.data)

    # --- the rest ---------------------------------------------------------------------------------

    def complain(self, text: str, *args: object) -> None:
        """Log, at most once in five seconds: an outage fails in every room."""
        now = self.loop.time()
        if now - self._complained > 5:
            self._complained = now
            log.warning(text, *args)

    def close(self) -> None:
        """Let every viewer go, so that the server can end. They come again to another process or to the next."""
        self.closing = True
        for viewer in self.viewers:
            viewer.end("restart")
        for room in self.rooms.values():
            room.close()
        for task in self._tasks:
            task.cancel()


_hub: Hub | None = None


def hub() -> Hub:
    """This process's hub, made on first use inside the event loop."""
    global _hub
    if _hub is None or _hub.loop is not asyncio.get_running_loop():
        _hub = Hub()
        _close_on_signal(_hub)
    return _hub


def _close_on_signal(made: Hub) -> None:
    """uvicorn waits for open responses before it tells the application that it ends, and streams never end by
    themselves. So the hub hears the signal as well, and then lets uvicorn have it."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)
        if not callable(before):
            continue

        def handle(received, frame, before=before):
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(made.close)
            before(received, frame)

        signal.signal(number, handle)
