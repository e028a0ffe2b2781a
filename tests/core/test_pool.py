import threading

import pytest
from django.db import connection, connections

pytestmark = pytest.mark.django_db(transaction=True)


def in_threads(count: int, work) -> list[object]:
    """What `work` returned or raised in each of so many threads, all at once; their connections go back."""
    results: list[object] = []
    barrier = threading.Barrier(count)

    def run() -> None:
        try:
            results.append(work(barrier))
        except Exception as error:
            results.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def ask(barrier: threading.Barrier) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        barrier.wait(20)  # so that each has a connection of its own
        return cursor.fetchone()[0]


def test_a_pool_full_of_dead_connections_heals_with_the_first_look():
    assert in_threads(8, ask) == [1] * 8
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        assert cursor.fetchone()[0] >= 8

    for _ in range(4):
        assert in_threads(1, ask) == [1]
    assert in_threads(8, ask) == [1] * 8
