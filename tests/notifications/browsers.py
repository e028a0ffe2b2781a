"""A browser's side of push messages, and a push service over HTTP that speaks as real ones do."""

import base64
import json
import os

import http_ece
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from werkzeug import Request, Response


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class PushService:
    """Takes what browsers would fetch. Answers by the last word of the address: good, later, never, gone…"""

    STATUS = {"good": 201, "later": 503, "busy": 429, "never": 403, "gone": 410, "unknown": 404, "moved": 307}

    def __init__(self, server) -> None:
        self.server = server
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.auth = os.urandom(16)
        self.requests: list[Request] = []
        for word in self.STATUS:
            server.expect_request(f"/push/{word}", method="POST").respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        request.get_data()
        status = self.STATUS[request.path.rsplit("/", 1)[1]]
        if status == 201:
            self.requests.append(request)
        return Response(
            "said",
            status=status,
            headers={"Location": self.server.url_for("/push/good")} if status == 307 else {},
        )

    def given(self, word: str = "good") -> dict[str, str]:
        """What `PushManager.subscribe` gives."""
        point = self.key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        return {
            "endpoint": self.server.url_for(f"/push/{word}"), "p256dh": encode(point), "auth": encode(self.auth)
        }  # fmt: skip

    def address(self, word: str = "good") -> str:
        return json.dumps(self.given(word))

    def opened(self) -> list[dict]:
        """What arrived, decrypted with the browser's keys."""
        return [
            json.loads(
                http_ece.decrypt(
                    request.get_data(), private_key=self.key, auth_secret=self.auth, version="aes128gcm"
                )
            )
            for request in self.requests
        ]

    def claims(self, number: int = -1) -> tuple[dict, str]:
        """What the sender swears, checked with the key that it names; and that key."""
        scheme, _, rest = self.requests[number].headers["Authorization"].partition(" ")
        assert scheme == "vapid"
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        point = base64.urlsafe_b64decode(parts["k"] + "=" * (-len(parts["k"]) % 4))
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        said = jwt.decode(parts["t"], key, algorithms=["ES256"], audience=self.server.url_for("").rstrip("/"))
        return said, parts["k"]
