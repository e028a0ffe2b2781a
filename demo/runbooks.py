"""The runbooks of the demonstration, as Markdown."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Book:
    title: str
    summary: str
    outage_class: str
    team: str
    author: str
    publisher: str
    services: tuple[str, ...]
    tags: tuple[str, ...] = ()
    texts: tuple[str, ...]  # versions, the oldest first
    why: tuple[str, ...] = ("",)
    draft: str = ""  # a text that nobody has published yet


_CONFIG = """Errors begin within minutes of a rollout of `edge-config`, in the regions that have it and in no others.

## Triage in one minute

- Which paths fail? Compare `POST` with `GET`: the edge treats them differently.
- Which regions? The rollout goes EU, UK, APAC, US. Those before the break fail, those after it do not.
- What changed? `edgectl config log --last 3` and the changes in the room.

## Steps

### Stop the rollout where it is (2 min)

```
edgectl rollout pause edge-config
```

The regions that have not got it are safe from now on. Say so in the room.

### Freeze deploys to what is behind the edge (3 min)

`deploy freeze checkout-api payment-gateway --reason INC-…`. A second change in the middle hides the first one.

### Compare what runs (5 min)

```
edgectl config diff --region eu-west-1 --against us-east-1
```

Look for timeouts, retries and pool sizes first. Nine of the last eleven were one of these.

### Move half of the traffic away (10 min)

```
edgectl traffic shift --from eu-west-1 --to us-east-1 --percent 50
```

**It works when** 5xx in `eu-west-1` halve within 3 min, and the latency of `us-east-1` stays below 900 ms. If it does not stay
there, take it back: `edgectl traffic reset`.

### Put the last good revision back (10 min)

```
edgectl config rollback edge-config --to <last good revision>
```

Region by region, the smallest first. Wait 2 min in each and look at 5xx before the next.

## Rollback

`edgectl traffic reset` puts all regions back to their own traffic. The rollback of the configuration is itself a rollout and
can be paused in the same way.

## Afterwards

- End the freeze: `deploy unfreeze --all`.
- Leave the rollout paused until the review has named the check that would have stopped it.
"""

_CONFIG_DRAFT = _CONFIG.replace(
    "### Move half of the traffic away (10 min)",
    """### Ask the database people before you move traffic (2 min)

`/expert database`. Twice the connections on one region's pooler were the second outage of INC-4398.

### Move half of the traffic away (10 min)""",
)

_POOL_1 = """Connections of `ledger-db` are used up; writes wait.

## Steps

### Look who holds them (5 min)

`SELECT application_name, state, count(*) FROM pg_stat_activity GROUP BY 1, 2 ORDER BY 3 DESC;`

### End what idles in a transaction (5 min)

`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction';`
"""

_POOL = """Connections of `ledger-db` are used up; writes wait, then checkouts fail.

## Triage in one minute

- Is the pool full, or is the database slow? `pgbouncer`'s `SHOW POOLS`: many `cl_waiting` with few `sv_active` is the pool.
- Which region? Each has a pooler of its own.

## Steps

### Look who holds them (5 min)

```
SELECT application_name, state, count(*) FROM pg_stat_activity GROUP BY 1, 2 ORDER BY 3 DESC;
```

### End what idles in a transaction (5 min)

```
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE state = 'idle in transaction' AND xact_start < now() - interval '2 min';
```

Never without the condition on the time: settlements run for 40 s, and are resumed by hand.

### Shed what can wait (5 min)

Turn the flag `reports_from_primary` off. Reports move to the replica and give back a third of the connections.

## Rollback

The flag back on. Ended connections come back by themselves within seconds.
"""

_SHARDS = """Suggestions take seconds, search itself is fast. A shard has been moved and its cache is cold.

## Steps

### See which shards are cold (3 min)

`searchctl shards --index products --sort hit-rate`. Below 40% is cold.

### Replay the queries of the last hour (40 min)

`searchctl warm --shards 5-9 --from 1h --rate 200/s`. **It works when** p95 falls by half every ten minutes.

### Pin the shard where it is (2 min)

`searchctl pin --shard 7 --for 24h`, so that the scheduler does not move it again tonight.

## Rollback

`searchctl warm --stop` at any time; what is warm stays warm. `searchctl unpin --shard 7` in the morning.
"""

_SIGN_IN = """Customers cannot sign in, and the certificate of the sign-in pages has less than a day left or none.

## Steps

### Read the certificate that is served (2 min)

```
openssl s_client -connect id.example.com:443 -servername id.example.com </dev/null | openssl x509 -noout -dates -issuer
```

### Issue a new one (10 min)

`certctl issue id.example.com --now`. If the authority does not answer, use the second one: `--issuer backup`.

### Load it at the edge (5 min)

`edgectl certs reload --host id.example.com`, then the first step again, from two regions.

## Rollback

`edgectl certs reload --host id.example.com --previous`
"""

BOOKS = [
    Book(
        title="A rollout of edge configuration broke something", outage_class="configuration", team="platform",
        summary="Errors that begin with a rollout, in the regions that have it.", author="tomasz", publisher="jonas",
        services=("edge-proxy", "config-service", "checkout-api"), tags=("edge", "rollout"), texts=(_CONFIG,),
        draft=_CONFIG_DRAFT,
    ),
    Book(
        title="Ledger database runs out of connections", outage_class="capacity", team="data",
        summary="PgPoolSaturated, or writes that wait for a connection.", author="sofia", publisher="grace",
        services=("ledger-db", "checkout-api", "payment-gateway"), tags=("database", "money"), texts=(_POOL_1, _POOL),
        why=("", "Triage, the reports' flag, and how to go back: all three were missing in March."),
    ),
    Book(
        title="Search suggestions are slow after a shard moved", outage_class="degradation", team="platform",
        summary="Suggestions slow in one region, search itself fast.", author="aisha", publisher="jonas",
        services=("search",), tags=("search",), texts=(_SHARDS,),
    ),
    Book(
        title="The certificate of the sign-in pages expires", outage_class="certificate", team="identity",
        summary="CertificateExpiry of id.example.com.", author="diego", publisher="ines",
        services=("identity",), tags=("tls",), texts=(_SIGN_IN,),
    ),
]  # fmt: skip
