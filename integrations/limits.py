"""Token buckets of one process. What strangers may cost is limited by them; known senders are at most answered later."""

import threading
from collections import OrderedDict


class Bucket:
    """`burst` at once, then `per_minute`. Time is a parameter: seconds of any clock that does not go back."""

    def __init__(self, *, burst: int, per_minute: float) -> None:
        self.burst = burst
        self.per_second = per_minute / 60
        self.left = float(burst)
        self.at: float | None = None

    def take(self, at: float) -> bool:
        if self.at is not None:
            self.left = min(self.burst, self.left + max(at - self.at, 0) * self.per_second)
        self.at = at
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Buckets:
    """One bucket for each name; the ones not used for longest are forgotten, so that their number stays bounded."""

    def __init__(self, *, burst: int, per_minute: float, most: int = 10_000) -> None:
        self.burst, self.per_minute, self.most = burst, per_minute, most
        self._buckets: OrderedDict[object, Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, name: object, at: float) -> bool:
        with self._lock:
            bucket = self._buckets.get(name)
            if bucket is None:
                bucket = self._buckets[name] = Bucket(burst=self.burst, per_minute=self.per_minute)
                if len(self._buckets) > self.most:
                    self._buckets.popitem(last=False)
            self._buckets.move_to_end(name)
            return bucket.take(at)

    def forget(self) -> None:
        with self._lock:
            self._buckets.clear()
