"""One web server process on a socket that somebody else has bound: `python -m config.serve FILE_DESCRIPTOR`.

`manage.py up` and `manage.py serve` bind the port once and start several of these. All of them accept from
the one socket, so while one is replaced the others answer and no connection is refused.
"""

import os
import socket
import sys

import uvicorn

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.conf import settings


def main() -> None:
    # Threads that answer requests would hold up the event loop's live streams for 5 ms at a time.
    sys.setswitchinterval(0.001)
    config = uvicorn.Config(
        "config.asgi:application",
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=3,  # live streams never end by themselves; browsers come back
        proxy_headers=bool(settings.MUSTER_TRUSTED_PROXIES),
        forwarded_allow_ips=[str(network) for network in settings.MUSTER_TRUSTED_PROXIES],
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
