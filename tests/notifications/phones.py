"""Real HTTP servers that speak the providers' APIs, strictly: what a provider would refuse, they refuse."""

import base64
import hashlib
import json
import time
import uuid
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from werkzeug import Request, Response

from notifications.phone_accounts import Account
from notifications.providers import twilio, vonage

TOKEN = "twilio-auth-token-0123456789abcd"
SIGNATURE_SECRET = "vonage-signature-secret-of-32-letters"
GOOD, LATER, NEVER = "+4930100001", "+4930100002", "+4930100003"


@cache
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _pem() -> str:
    return private_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()  # fmt: skip


def as_json(found: object, status: int = 200) -> Response:
    return Response(json.dumps(found), status=status, content_type="application/json")


@dataclass
class Sink:
    """What arrived, and how it is to answer: `down` as a server in trouble, `broke` as an account without money."""

    kind: str
    name: str
    base: str
    arrived: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    asked: int = 0
    down: bool = False
    states: dict[str, dict[str, Any]] = field(default_factory=dict)

    def account(self) -> Account:
        raise NotImplementedError


class TwilioSink(Sink):
    sid = "AC" + "1" * 32

    def account(self) -> Account:
        return Account(
            name=self.name, family="twilio", kind=self.kind, base=self.base, user=self.sid, password=TOKEN,
            sender="+4930999",
        )  # fmt: skip

    def handle(self, request: Request) -> Response:
        self.asked += 1
        wanted = "Basic " + base64.b64encode(f"{self.sid}:{TOKEN}".encode()).decode()
        if request.headers.get("Authorization") != wanted:
            return as_json({"code": 20003, "message": "Authenticate", "status": 401}, 401)
        if self.down:
            return Response("upstream is gone", status=503)
        if request.method == "GET":
            sid = request.path.rsplit("/", 1)[1].removesuffix(".json")
            return as_json({"sid": sid, "error_code": None, **self.states.get(sid, {"status": "queued"})})
        form = request.form.to_dict()
        voice = request.path.endswith("/Calls.json")
        needed = {"To", "From"} | (set() if voice else {"Body"})
        if (
            needed - set(form)
            or (voice and not {"Url", "Twiml"} & set(form))
            or len(form.get("Twiml", "")) > 4000
        ):
            return as_json({"code": 21201, "message": "A parameter is missing", "status": 400}, 400)
        if form["To"] == LATER:
            return as_json({"code": 20429, "message": "Too many requests", "status": 429}, 429)
        if form["To"] == NEVER:
            return as_json({"code": 21211, "message": "Invalid 'To' number", "status": 400}, 400)
        sid = ("CA" if voice else "SM") + uuid.uuid4().hex
        self.arrived.append({**form, "sid": sid})
        self.keys.append(request.headers["I-Twilio-Idempotency-Token"])
        return as_json({"sid": sid, "status": "queued", "error_code": None}, 201)


class VonageSink(Sink):
    def account(self) -> Account:
        return Account(
            name=self.name, family="vonage", kind=self.kind, base=self.base, user="app-or-key", password="s3cret",
            sender="+4930999", signature_secret=SIGNATURE_SECRET, private_key=_pem(),
        )  # fmt: skip

    def handle(self, request: Request) -> Response:
        self.asked += 1
        if self.down:
            return Response("upstream is gone", status=503)
        if request.path == "/sms/json":
            return self._sms(request.get_json())
        claims = jwt.decode(
            request.headers["Authorization"].removeprefix("Bearer "),
            private_key().public_key(),
            algorithms=["RS256"],
        )
        if claims["application_id"] != "app-or-key" or "jti" not in claims:
            return as_json({"title": "Unauthorized"}, 401)
        if request.method == "GET":
            call = request.path.rsplit("/", 1)[1]
            return as_json({"uuid": call, **self.states.get(call, {"status": "ringing"})})
        body = request.get_json()
        number = "+" + body["to"][0]["number"]
        assert body["ncco"][0]["action"] == "talk"
        if number == LATER:
            return as_json({"title": "Too many requests"}, 429)
        if number == NEVER:
            return as_json({"title": "Bad request", "invalid_parameters": [{"name": "to[0].number"}]}, 400)
        call = str(uuid.uuid4())
        self.arrived.append({**body, "uuid": call})
        self.keys.append(body.get("event_url", [""])[0])
        return as_json(
            {"uuid": call, "status": "started", "direction": "outbound", "conversation_uuid": "CON-1"}, 201
        )

    def _sms(self, form: dict[str, Any]) -> Response:
        if (form["api_key"], form["api_secret"]) != ("app-or-key", "s3cret"):
            return as_json(
                {"message-count": "1", "messages": [{"status": "4", "error-text": "Bad credentials"}]}
            )
        status = {LATER[1:]: "1", NEVER[1:]: "7"}.get(form["to"], "0")
        if status != "0":
            return as_json({"message-count": "1", "messages": [{"status": status, "error-text": "No"}]})
        found = uuid.uuid4().hex.upper()[:16]
        self.arrived.append({**form, "message-id": found})
        self.keys.append(form["client-ref"])
        return as_json(
            {"message-count": "1", "messages": [{"status": "0", "message-id": found, "to": form["to"]}]}
        )


def signed_by_twilio(url: str, fields: dict[str, str]) -> dict[str, str]:
    return {"HTTP_X_TWILIO_SIGNATURE": twilio.sign(TOKEN, url, fields)}


def signed_by_vonage(body: bytes, *, at: float | None = None) -> dict[str, str]:
    claims = {
        "iat": int(at or time.time()),
        "jti": str(uuid.uuid4()),
        "payload_hash": hashlib.sha256(body).hexdigest(),
    }
    return {"HTTP_AUTHORIZATION": f"Bearer {jwt.encode(claims, SIGNATURE_SECRET, algorithm='HS256')}"}


def with_sig(fields: dict[str, str]) -> dict[str, str]:
    fields = {**fields, "timestamp": str(int(time.time())), "nonce": uuid.uuid4().hex}
    return {**fields, "sig": vonage.sign(SIGNATURE_SECRET, fields)}
