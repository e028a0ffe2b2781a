"""Fixtures that every app's tests share. The servers are started by `tests/servers.py`."""
