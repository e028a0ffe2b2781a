"""How a worker's consumer waits for its broker. Loaded by workers alone."""

from functools import partial

from celery.worker.consumer import Consumer
from kombu import Connection


class Eager(Consumer):
    """Looks for a lost broker once a second. Celery itself waits longer each time, up to half a minute, and all
    that while the timekeeper would have to do what workers are for."""

    def ensure_connected(self, conn: Connection) -> Connection:
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=0.5, interval_step=0.5, interval_max=1
        )
        return super().ensure_connected(conn)
