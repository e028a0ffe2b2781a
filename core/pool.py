"""Heals the pool of database connections in one go after a restart of the database.

The pool looks at a connection before it lends it, throws a dead one away and takes the next, but waits a second
before it looks at the third, two before the fourth, and so on. With a handful of idle connections from before the
restart, requests would fail for seconds although the database answers. So the first dead one empties the pool.
"""

from django.db import connection
from psycopg import Connection
from psycopg_pool import ConnectionPool

look = ConnectionPool.check_connection


def look_and_empty(lent: Connection) -> None:
    try:
        look(lent)
    except Exception:
        if connection.pool is not None:
            connection.pool.drain()
        raise


def install() -> None:
    """Django hands this method to its pool and offers no setting for another one."""
    ConnectionPool.check_connection = staticmethod(look_and_empty)
