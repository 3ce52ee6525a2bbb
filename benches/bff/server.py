"""The three paths of bio-bff that are measured, written the conventional way: FastAPI, asyncpg, redis, two uvicorn workers
with uvloop and httptools, orjson for bodies, connection pools.

The SQL, the JWT check (RS256, every request), row security and the cache's protocol are those of bio-bff. What its handlers
compute is computed here too, as far as these three paths' requests reach it; answers are compared by benches/bff/run.py
before anything is measured. Around each request it does what bio-bff does: a request id, metrics, a limit of time and of
requests a user, compression where it pays. BARE=1 leaves that out, here only.
"""

import asyncio
import base64
import hashlib
import os
import secrets
import time
import uuid
from contextlib import asynccontextmanager
from datetime import date, datetime, time as wall, timedelta, timezone
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import asyncpg
import jwt
import orjson
import redis.asyncio as aioredis
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import ORJSONResponse
from jwt.algorithms import RSAAlgorithm
from prometheus_client import Counter, Histogram, generate_latest
from pydantic import BaseModel, ConfigDict
from starlette.middleware.gzip import GZipMiddleware

SLOT = 15 * 60 * 1_000_000
LIFE = 300
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
ISSUER = os.environ["BFF_COGNITO_ISSUER"]
CLIENT_IDS = os.environ["BFF_COGNITO_CLIENT_IDS"].split(",")
KEYS = {
    k["kid"]: RSAAlgorithm.from_jwk(k) for k in orjson.loads(open(os.environ["JWKS_FILE"], "rb").read())["keys"]
}


async def prepare(connection: asyncpg.Connection) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=lambda v: orjson.dumps(v).decode(), decoder=orjson.loads
        )


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.pool = await asyncpg.create_pool(
        os.environ["DATABASE_URL"],
        min_size=8,
        max_size=8,
        init=prepare,
        server_settings={"statement_timeout": "10s", "TimeZone": "UTC"},
    )
    app.state.redis = aioredis.from_url(os.environ["REDIS_URL"], max_connections=64)
    app.state.run = (await app.state.redis.info("server"))["run_id"].encode()
    app.state.fill = app.state.redis.register_script(
        "if redis.call('HGET', KEYS[1], 'v') == ARGV[1] then "
        "redis.call('HSET', KEYS[1], 'bv', ARGV[1], 'run', ARGV[2], 'body', ARGV[3]) "
        "redis.call('PEXPIRE', KEYS[1], ARGV[4]) end"
    )
    app.state.users, app.state.buckets = {}, {}
    yield
    await app.state.pool.close()
    await app.state.redis.aclose()


app = FastAPI(lifespan=lifespan, default_response_class=ORJSONResponse)


# Around every request.

BARE = bool(os.environ.get("BARE"))
REQUESTS = Counter("bff_requests", "Requests", ["route", "method", "status"])
TOOK = Histogram("bff_request_duration_seconds", "Duration", ["route", "method"])
RATE, BURST, REQUEST_TIME = 300, 30_000, 20


class Around:
    """As plain ASGI, which costs a fraction of what Starlette's BaseHTTPMiddleware does."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begun, status = time.perf_counter(), 500
        given = next((v for k, v in scope["headers"] if k == b"x-request-id"), b"")
        request_id = given if given.isalnum() and len(given) <= 64 else str(uuid.uuid4()).encode()

        async def reply(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] += [(b"x-request-id", request_id), (b"x-content-type-options", b"nosniff")]
            await send(message)

        try:
            async with asyncio.timeout(REQUEST_TIME):
                await self.app(scope, receive, reply)
        finally:
            route = scope["route"].path if "route" in scope else "unmatched"
            REQUESTS.labels(route, scope["method"], status).inc()
            TOOK.labels(route, scope["method"]).observe(time.perf_counter() - begun)


if not BARE:
    app.add_middleware(GZipMiddleware, minimum_size=1024)
    app.add_middleware(Around)


@app.get("/metrics")
def metrics() -> Response:
    return Response(generate_latest(), media_type="text/plain")


def admit(request: Request, user: str) -> None:
    """A token bucket for each user."""
    buckets, now = request.app.state.buckets, time.monotonic()
    left, since = buckets.get(user, (BURST, now))
    left = min(BURST, left + (now - since) * RATE)
    if left < 1:
        raise HTTPException(429, "rate_limited", {"retry-after": "1"})
    buckets[user] = (left - 1, now)


def now_us() -> int:
    return time.time_ns() // 1000


def at(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


def us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


# Who is asking.


def subject(authorization: Annotated[str | None, Header()] = None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise HTTPException(401, "token_missing")
    try:
        key = KEYS[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(
            token,
            key,
            algorithms=["RS256"],
            issuer=ISSUER,
            leeway=30,
            options={"require": ["exp", "iss", "sub"], "verify_aud": False},
        )
    except (jwt.InvalidTokenError, KeyError) as error:
        raise HTTPException(401, "token_invalid") from error
    if claims.get("token_use") != "access" or claims.get("client_id") not in CLIENT_IDS:
        raise HTTPException(401, "token_invalid")
    return claims["sub"]


async def current_user(request: Request, sub: Annotated[str, Depends(subject)]) -> str:
    users = request.app.state.users
    known = users.get(sub)
    if known and known[1] > time.monotonic():
        if not BARE:
            admit(request, known[0])
        return known[0]
    async with request.app.state.pool.acquire() as c, c.transaction():
        await c.execute("SELECT set_config('app.subject', $1, true)", sub)
        found = await c.fetchval("SELECT id FROM users WHERE cognito_sub = $1", sub)
    if found is None:
        raise HTTPException(404, "not_found")
    users[sub] = (str(found), time.monotonic() + 60)
    return str(found)


User = Annotated[str, Depends(current_user)]


class UserTx:
    """A transaction in which one user's rows exist."""

    def __init__(self, pool: asyncpg.Pool, user: str, more: str = ""):
        self.pool, self.user, self.more = pool, user, more

    async def __aenter__(self) -> asyncpg.Connection:
        self.c = await self.pool.acquire()
        await self.c.execute(
            f"BEGIN; SELECT set_config('app.user_id', CASE WHEN EXISTS (SELECT FROM ops.erasures WHERE erased = "
            f"'{self.user}') THEN '' ELSE '{self.user}' END, true){self.more}"
        )
        return self.c

    async def __aexit__(self, kind, *_):
        try:
            await self.c.execute("ROLLBACK" if kind else "COMMIT")
        finally:
            await self.pool.release(self.c)


# The cache: an entry counts only under the version beside it.


def key(user: str) -> str:
    return f"user:{user}:dashboard"


def new_version() -> str:
    return str(secrets.randbits(64))


async def invalidate(r: aioredis.Redis, user: str) -> None:
    async with r.pipeline(transaction=False) as p:
        p.hset(key(user), "v", new_version())
        p.pexpire(key(user), 3_600_000)
        await p.execute()


# The dashboard.


def windows(profile: asyncpg.Record | None, zone: ZoneInfo, day: date) -> tuple[int, int, str]:
    fasting = bool(profile and profile["is_fasting_enabled"])
    if fasting:
        start, end = profile["fasting_end_time"], profile["fasting_start_time"]
    else:
        start = (profile and profile["wake_time"]) or wall(7)
        end = (profile and profile["sleep_time"]) or wall(23)
    last = day + timedelta(days=1) if end <= start else day
    opens = datetime.combine(day, start, zone)
    return us(opens), us(datetime.combine(last, end, zone)), f"{start.hour:02}:{start.minute:02}"


def one_decimal(x: float) -> float:
    return int(x * 10 + 0.5) / 10


async def compute(c: asyncpg.Connection, now: int) -> dict[str, Any]:
    await c.fetchrow("SELECT id, email, tier, created_at FROM users WHERE id = ops.current_user_id()")
    profile = await c.fetchrow("SELECT * FROM bio_profile WHERE user_id = ops.current_user_id()")
    name = (profile and profile["timezone"]) or "UTC"
    zone = ZoneInfo(name)
    today = at(now).astimezone(zone).date()
    span = lambda days: windows(profile, zone, today + timedelta(days=days))
    midnight = lambda days: us(datetime.combine(today + timedelta(days=days), wall(0), zone))
    day_from = max(midnight(0), span(-1)[1])
    day_to = max(midnight(1), span(0)[1])
    plan = await c.fetchrow(
        "SELECT p.date, coalesce(d.timezone, 'UTC') AS timezone, p.target_calories, p.target_protein, "
        "p.next_meal_suggestion, p.rejected_suggestions, p.energy_score::float8 AS energy_score "
        "FROM daily_plan p LEFT JOIN ops.days d ON d.user_id = p.user_id AND d.date = p.date "
        "WHERE p.user_id = ops.current_user_id() AND p.date = $1",
        today,
    )
    eaten = await c.fetchrow(
        "SELECT coalesce(sum(calories) FILTER (WHERE status = 'confirmed'), 0)::bigint AS calories, "
        "coalesce(sum(protein_g) FILTER (WHERE status = 'confirmed'), 0)::bigint AS protein, "
        "coalesce(sum(carbs_g) FILTER (WHERE status = 'confirmed'), 0)::bigint AS carbs, "
        "coalesce(sum(fats_g) FILTER (WHERE status = 'confirmed'), 0)::bigint AS fats, "
        "count(*) FILTER (WHERE status = 'confirmed') AS meals, "
        "count(*) FILTER (WHERE status = 'pending_confirmation') AS pending "
        "FROM food_logs WHERE user_id = ops.current_user_id() AND log_time >= $1 AND log_time < $2",
        at(day_from),
        at(day_to),
    )
    return {
        "date": today.isoformat(),
        "timezone": name,
        "yesterday": span(-1),
        "today": span(0),
        "tomorrow": span(1),
        "fasting": bool(profile and profile["is_fasting_enabled"]),
        "until": min(midnight(1), day_to),
        "totals": {
            "calories": eaten["calories"],
            "protein_g": eaten["protein"],
            "carbs_g": eaten["carbs"],
            "fats_g": eaten["fats"],
            "meals": eaten["meals"],
        },
        "pending": eaten["pending"],
        "target_calories": plan and plan["target_calories"],
        "target_protein": plan and plan["target_protein"],
        # The users that are measured have whole profiles.
        "missing": [],
        "card": plan and plan["next_meal_suggestion"],
        "energy_score": plan and plan["energy_score"],
    }


def face(i: dict[str, Any], now: int) -> tuple[float, float | None, str, bool]:
    for start, end, _ in (i["yesterday"], i["today"]):
        if start <= now < end:
            outer, fasting = one_decimal(100 * (now - start) / (end - start)), False
            break
    else:
        outer, fasting = (100.0 if now >= i["today"][1] else 0.0), i["fasting"]
    target = i["target_calories"]
    inner = one_decimal(min(max(100 * i["totals"]["calories"] / target, 0), 999)) if target else None
    if fasting:
        upcoming = i["today"] if now < i["today"][0] else i["tomorrow"]
        return outer, inner, f"Fasting - next window at {upcoming[2]}", True
    if inner is None:
        status = "Tell more about yourself to get a target."
    elif inner < outer - 15:
        status = "Fuel Up - You are behind schedule."
    elif inner > outer + 15:
        status = "Slow Down - You are ahead of schedule."
    else:
        status = "On Track"
    return outer, inner, status, False


@app.get("/dashboard/state")
async def dashboard(
    request: Request, user: User, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    state, now = request.app.state, now_us()
    v, bv, run, body = await state.redis.hmget(key(user), "v", "bv", "run", "body")
    inputs = orjson.loads(body) if v is not None and v == bv and run == state.run else None
    if inputs is None or now >= inputs["until"]:
        if v is None or inputs is not None:
            await invalidate(state.redis, user)
            v = await state.redis.hget(key(user), "v")
        async with UserTx(state.pool, user) as c:
            inputs = await compute(c, now)
        life = max(1, min(LIFE * 1000, (inputs["until"] - now) // 1000))
        await state.fill(keys=[key(user)], args=[v, state.run, orjson.dumps(inputs), life])
    outer, inner, status, fasting = face(inputs, now)
    body = orjson.dumps(
        {
            "rings": {"outer_percent": outer, "inner_percent": inner},
            "status_msg": status,
            "fasting_active": fasting,
            "ai_card": inputs["card"],
            "date": inputs["date"],
            "timezone": inputs["timezone"],
            "totals": inputs["totals"],
            "targets": {
                "calories": inputs["target_calories"],
                "protein_g": inputs["target_protein"],
                "missing": inputs["missing"],
            },
            "energy_score": inputs["energy_score"],
            "pending_scans": inputs["pending"],
        }
    )
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if if_none_match and tag in if_none_match:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


# Eating from a leftover.


class Consumption(BaseModel):
    model_config = ConfigDict(extra="forbid")
    leftover_id: str
    consumed_servings: float


def half_up(tenths: int, per_serving_tenths: int) -> int:
    return (tenths * per_serving_tenths + 50) // 100


LEFTOVER = (
    "id, recipe_name, (total_servings * 10)::int AS total, (remaining_servings * 10)::int AS remaining, "
    "calories_per_serving, macros_json, created_at, is_active, xmin::text::bigint AS version"
)


@app.post("/pantry/leftovers/consume")
async def consume(
    request: Request,
    user: User,
    wish: Consumption,
    idempotency_key: Annotated[str, Header()],
) -> Response:
    state = request.app.state
    tenths = round(wish.consumed_servings * 10)
    if tenths <= 0 or abs(wish.consumed_servings * 10 - tenths) > 1e-6 or tenths > 9999:
        raise HTTPException(422, "invalid_field")
    path = "/pantry/leftovers/consume"
    fingerprint = hashlib.sha256(orjson.dumps(wish.model_dump())).digest()
    lock = int.from_bytes(hashlib.sha256(f"{user} POST {path} {idempotency_key}".encode()).digest()[:8], signed=True)
    claim = f"; SELECT set_config('app.claimed', pg_try_advisory_xact_lock('{lock}'::bigint)::text, true)"
    async with UserTx(state.pool, user, claim) as c:
        before = await c.fetchrow(
            "SELECT coalesce(current_setting('app.claimed', true) = 'true', false) AS claimed, "
            "k.fingerprint, k.status, k.body FROM (SELECT) AS one LEFT JOIN idempotency_keys k "
            "ON k.user_id = ops.current_user_id() AND k.method = $1 AND k.path = $2 AND k.key = $3",
            "POST",
            path,
            idempotency_key,
        )
        if not before["claimed"]:
            raise HTTPException(409, "idempotency_in_flight")
        if before["fingerprint"]:
            if before["fingerprint"] != fingerprint:
                raise HTTPException(422, "idempotency_key_reused")
            return Response(before["body"], before["status"], media_type="application/json")
        left = await c.fetchrow(
            "UPDATE leftovers SET remaining_servings = remaining_servings - $2::int / 10.0 "
            "WHERE user_id = ops.current_user_id() AND id = $1 AND remaining_servings >= $2::int / 10.0 "
            f"RETURNING {LEFTOVER}",
            wish.leftover_id,
            tenths,
        )
        if left is None:
            raise HTTPException(409, "not_enough_left")
        macros = left["macros_json"]
        grams = lambda name: half_up(tenths, round(macros[name] * 10))
        log = {
            "id": uuid.uuid4(),
            "log_time": at(now_us()),
            "food_name": left["recipe_name"],
            "calories": (tenths * left["calories_per_serving"] + 5) // 10,
            "protein_g": grams("p"),
            "carbs_g": grams("c"),
            "fats_g": grams("f"),
            "meal_type": None,
            "is_caffeine": False,
            "is_alcohol": False,
            "meta_data": {"leftover_id": wish.leftover_id, "consumed_servings": wish.consumed_servings},
            "status": "confirmed",
            "scan_id": None,
        }
        body = orjson.dumps(
            {
                "leftover": {
                    "id": left["id"],
                    "recipe_name": left["recipe_name"],
                    "total_servings": left["total"] / 10,
                    "remaining_servings": left["remaining"] / 10,
                    "calories_per_serving": left["calories_per_serving"],
                    "macros_json": macros,
                    "created_at": left["created_at"],
                    "is_active": left["is_active"],
                },
                "food_log": log | {"warnings": warnings(log)},
            },
            default=str,
        )
        await c.execute(
            "WITH log AS (INSERT INTO food_logs (id, user_id, log_time, food_name, calories, protein_g, carbs_g, fats_g, "
            "meta_data, status) VALUES ($8, $1, $9, $10, $11, $12, $13, $14, $15, $16)) "
            "INSERT INTO idempotency_keys (user_id, method, path, key, fingerprint, status, body) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7)",
            user,
            "POST",
            path,
            idempotency_key,
            fingerprint,
            200,
            body,
            *(log[k] for k in ("id", "log_time", "food_name", "calories", "protein_g", "carbs_g", "fats_g", "meta_data", "status")),
        )
    await invalidate(state.redis, user)
    return Response(body, media_type="application/json")


def warnings(log: dict) -> list[str]:
    from_macros = 4 * log["protein_g"] + 4 * log["carbs_g"] + 9 * log["fats_g"]
    off = abs(from_macros - log["calories"])
    return ["macros_inconsistent"] if off > max(25, 0.2 * log["calories"]) else []


# A batch of what the phone measured.


class Record(BaseModel):
    id: str | None = None
    kind: str
    start: datetime
    end: datetime | None = None
    value: float
    source: str = "unknown"
    device: str | None = None


class Batch(BaseModel):
    batch_id: str | None = None
    cursor: str | None = None
    device: str | None = None
    timezone: str | None = None
    records: list[Record]


COLUMN = {"steps": 0, "active_energy_kcal": 1, "resting_hr": 2, "hrv_sdnn": 3, "hrv_rmssd": 3, "sleep_score": 4, "subj_feel": 5}
TOP = {"resting_hr": (25, 240), "hrv_sdnn": (1, 500), "hrv_rmssd": (1, 500), "sleep_score": (0, 100), "subj_feel": (0, 100)}


def check(r: Record, start: int, end: int, now: int, oldest: int) -> str | None:
    if r.kind not in COLUMN:
        return "unknown_kind"
    additive = COLUMN[r.kind] < 2
    if end < start or (additive and end == start):
        return "bad_interval"
    if additive and end - start > 60 * 60_000_000:
        return "interval_too_coarse"
    if start > now + 600_000_000 or end > now + 4_200_000_000:
        return "future_time"
    if start < oldest:
        return "before_account"
    slots = max((end - start) / SLOT, 1)
    low, high = (0, (5000 if r.kind == "steps" else 500) * slots) if additive else TOP[r.kind]
    return None if low <= r.value <= high else "out_of_range"


def spread(start: int, end: int, total: int) -> list[tuple[int, int]]:
    cuts = [start, *range((start // SLOT + 1) * SLOT, end, SLOT)]
    if len(cuts) == 1:
        return [(start, total)]
    ends = [*cuts[1:], end]
    shares = [total * (b - a) / (end - start) for a, b in zip(cuts, ends)]
    units = [int(s) for s in shares]
    order = sorted(range(len(units)), key=lambda i: units[i] - shares[i])
    for i in order[: total - sum(units)]:
        units[i] += 1
    return list(zip(cuts, units))


def fold(batch: Batch, now: int, oldest: int):
    """Rows by (time, source), what each record is about, and the spans that sums tell the whole of."""
    rows: dict[tuple[int, str], list] = {}
    outcomes: list = [None] * len(batch.records)
    seen: dict[tuple[str, int, str], int] = {}
    good = []
    for i, r in enumerate(batch.records):
        start = us(r.start)
        end = us(r.end) if r.end else start
        outcomes[i] = check(r, start, end, now, oldest)
        if outcomes[i] is None:
            earlier = seen.get((r.kind, start, r.source))
            if earlier is not None:
                outcomes[earlier] = "duplicate_in_batch"
            seen[(r.kind, start, r.source)] = i
            good.append((i, r, start, end))
    spans = []
    for i, r, start, end in good:
        if outcomes[i] is not None:
            continue
        column, device, touched = COLUMN[r.kind], r.device or batch.device, []
        if column < 2:
            scale = 1 if column == 0 else 1000
            parts = [(t, n / scale if column else n) for t, n in spread(start, end, round(r.value * scale))]
            spans.append((column, r.source, start, end))
        else:
            parts = [(end if column == 4 else start, round(r.value))]
        for t, value in parts:
            row = rows.setdefault((t, r.source), [None] * 6 + [None, None])
            row[column] = (row[column] or 0) + value if column < 2 else value
            if column == 3:
                row[6] = "sdnn" if r.kind == "hrv_sdnn" else "rmssd"
            if device:
                row[7] = device
            touched.append((t, r.source))
        outcomes[i] = (column, touched)
    spans.sort()
    joined: list = []
    for column, source, start, end in spans:
        if joined and joined[-1][:2] == [column, source] and start <= joined[-1][3]:
            joined[-1][3] = max(joined[-1][3], end)
        else:
            joined.append([column, source, start, end])
    return rows, outcomes, joined


def compare(column: int, new: list, old: asyncpg.Record | None) -> str:
    if old is None or old[column + 2] is None:
        return "stored"
    same = abs(new[column] - old[column + 2]) < 5e-4 if column == 1 else new[column] == old[column + 2]
    if column == 3:
        same = same and new[6] == old[8]
    return "duplicate" if same else "corrected"


@app.post("/sync/batch")
async def sync(request: Request, user: User, batch: Batch):
    state, now = request.app.state, now_us()
    if len(batch.records) > 10_000:
        raise HTTPException(413, "too_many_records")
    async with UserTx(state.pool, user) as c:
        known = await c.fetchrow(
            "SELECT u.created_at, p.timezone FROM users u LEFT JOIN bio_profile p ON p.user_id = u.id "
            "WHERE u.id = ops.current_user_id() FOR NO KEY UPDATE OF u"
        )
        rows, outcomes, covered = fold(batch, now, us(known["created_at"]) - 35 * 86_400_000_000)
        keys = list(rows)
        found = await c.fetch(
            "SELECT h.time, h.source, h.steps_delta, h.active_energy_kcal::float8 AS energy, h.resting_hr, h.hrv_ms, "
            "h.sleep_score, h.subj_feel, h.hrv_kind, h.device "
            "FROM unnest($1::timestamptz[], $2::text[]) AS k (time, source) JOIN health_metrics h "
            "ON h.time = k.time AND h.source = k.source AND h.user_id = ops.current_user_id()",
            [at(t) for t, _ in keys],
            [s for _, s in keys],
        )
        stored = {(us(r["time"]), r["source"]): r for r in found}
        counts = {"stored": 0, "duplicate": 0, "corrected": 0, "rejected": 0}
        results = []
        for i, (r, outcome) in enumerate(zip(batch.records, outcomes)):
            if isinstance(outcome, str):
                one = {"i": i, "id": r.id, "verdict": "rejected", "code": outcome}
            else:
                column, touched = outcome
                each = {compare(column, rows[k], stored.get(k)) for k in touched}
                verdict = next(v for v in ("corrected", "stored", "duplicate") if v in each)
                one = {"i": i, "id": r.id, "verdict": verdict}
            if r.id is None:
                del one["id"]
            counts[one["verdict"]] += 1
            results.append(one)
        changed = [
            k
            for k in keys
            if (old := stored.get(k)) is None
            or any(rows[k][n] is not None and compare(n, rows[k], old) != "duplicate" for n in range(6))
            or (rows[k][7] is not None and rows[k][7] != old["device"])
        ]
        if changed:
            await c.execute(
                "INSERT INTO health_metrics AS h (time, user_id, source, steps_delta, active_energy_kcal, resting_hr, "
                "hrv_ms, hrv_kind, sleep_score, subj_feel, device) "
                "SELECT t, ops.current_user_id(), s, steps, round(kcal::numeric, 3), hr, hrv, kind, sleep, feel, device "
                "FROM unnest($1::timestamptz[], $2::text[], $3::int[], $4::float8[], $5::int[], $6::int[], $7::text[], "
                "$8::int[], $9::int[], $10::text[]) AS u (t, s, steps, kcal, hr, hrv, kind, sleep, feel, device) "
                "ON CONFLICT (time, user_id, source) DO UPDATE SET "
                "steps_delta = coalesce(excluded.steps_delta, h.steps_delta), "
                "active_energy_kcal = coalesce(excluded.active_energy_kcal, h.active_energy_kcal), "
                "resting_hr = coalesce(excluded.resting_hr, h.resting_hr), "
                "hrv_ms = coalesce(excluded.hrv_ms, h.hrv_ms), "
                "hrv_kind = coalesce(excluded.hrv_kind, h.hrv_kind), "
                "sleep_score = coalesce(excluded.sleep_score, h.sleep_score), "
                "subj_feel = coalesce(excluded.subj_feel, h.subj_feel), "
                "device = coalesce(excluded.device, h.device)",
                [at(t) for t, _ in changed],
                [s for _, s in changed],
                *([rows[k][n] for k in changed] for n in (0, 1, 2, 3, 6, 4, 5, 7)),
            )
            await c.execute(
                "UPDATE health_metrics h SET "
                "steps_delta = CASE WHEN c.steps THEN NULL ELSE h.steps_delta END, "
                "active_energy_kcal = CASE WHEN c.steps THEN h.active_energy_kcal END "
                "FROM unnest($1::text[], $2::bool[], $3::timestamptz[], $4::timestamptz[]) AS c (source, steps, f, t) "
                "WHERE h.user_id = ops.current_user_id() AND h.source = c.source AND h.time > c.f AND h.time < c.t "
                "AND (CASE WHEN c.steps THEN h.steps_delta IS NOT NULL ELSE h.active_energy_kcal IS NOT NULL END) "
                "AND (h.time, h.source) NOT IN (SELECT k.time, k.source FROM unnest($5::timestamptz[], $6::text[]) "
                "AS k (time, source))",
                [s[1] for s in covered],
                [s[0] == 0 for s in covered],
                [at(s[2]) for s in covered],
                [at(s[3]) for s in covered],
                [at(t) for t, _ in keys],
                [s for _, s in keys],
            )
        end = max((us(r.end or r.start) for r in batch.records), default=now)
        cursor = base64.urlsafe_b64encode(f"1.{now}.{min(end, now)}.{secrets.token_hex(4)}".encode()).rstrip(b"=").decode()
        recent = changed and max(t for t, _ in changed) > now - 31 * 86_400_000_000
        await c.execute(
            "WITH event AS (INSERT INTO outbox (user_id, kind) SELECT $1, $4::varchar WHERE $4::varchar IS NOT NULL) "
            "INSERT INTO sync_cursors (user_id, device, cursor) VALUES ($1, $2, $3) ON CONFLICT (user_id, device) "
            "DO UPDATE SET cursor = excluded.cursor, updated_at = now()",
            user,
            batch.device or "",
            cursor,
            "CalculateEnergyScore" if recent else None,
        )
    return ORJSONResponse(
        {
            "batch_id": batch.batch_id,
            "cursor": cursor,
            "counts": counts,
            "ignored": 0,
            "deleted": 0,
            "results": results,
        }
    )
