"""bio-bff beside the same paths in FastAPI (server.py), both sides in one run over the same PostgreSQL and Redis.

Called by compare.sh. Prints a table in Markdown: CPU time of the API's processes per request, requests a second, latency,
peak memory. A side's answers are compared with the other's before anything is measured.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

HERE = Path(__file__).parent
USERS = 200
ISSUER = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_bench"
TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port: int, process: subprocess.Popen) -> None:
    for _ in range(3000):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None:
                sys.exit(f"a process ended at its start: {process.args}")
            time.sleep(0.01)
    sys.exit("nothing listens")


def tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(p for c in children for p in tree(int(c)))]


def cpu_seconds(pid: int) -> float:
    total = 0
    for p in tree(pid):
        fields = Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def peak_mib(pid: int) -> float:
    peak = 0
    for p in tree(pid):
        status = Path(f"/proc/{p}/status").read_text()
        peak += next((int(l.split()[1]) for l in status.splitlines() if l.startswith("VmHWM")), 0)
    return peak / 1024


class Keys:
    """The identity provider: one RSA key, published, and tokens signed with it."""

    def __init__(self, folder: Path):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        jwk = json.loads(RSAAlgorithm.to_jwk(self.key.public_key())) | {"kid": "k1", "use": "sig", "alg": "RS256"}
        body = json.dumps({"keys": [jwk]}).encode()
        self.file = folder / "jwks.json"
        self.file.write_bytes(body)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}/keys"
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def token(self, user: int) -> str:
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": f"user-{user}", "token_use": "access", "client_id": "app", "username": "u",
                  "scope": "openid", "auth_time": now, "iat": now, "exp": now + 86_400}
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "k1"})


class Servers:
    """A private PostgreSQL and Redis."""

    def __init__(self, folder: Path):
        self.bin = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        self.pg, self.redis = free_port(), free_port()
        data = folder / "data"
        as_other = []
        if os.getuid() == 0:
            as_other = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
            shutil.chown(folder, "nobody", "nogroup")
            folder.chmod(0o755)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([*as_other, self.bin / "initdb", "-A", "trust", "--no-sync", "--locale=C.UTF-8", "-U", "postgres",
                        "-D", data], check=True, **quiet)
        self.processes = [
            subprocess.Popen([*as_other, self.bin / "postgres", "-D", data, "-p", str(self.pg),
                              "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off",
                              "-c", "synchronous_commit=off", "-c", "shared_buffers=512MB", "-c", "max_wal_size=4GB"],
                             **quiet),
            subprocess.Popen(["redis-server", "--port", str(self.redis), "--bind", "127.0.0.1", "--save", "",
                              "--appendonly", "no", "--dir", "/tmp"], **quiet)]
        wait_for(self.pg, self.processes[0])
        wait_for(self.redis, self.processes[1])
        time.sleep(1)

    def url(self, login: str, database: str) -> str:
        return f"postgres://{login}@127.0.0.1:{self.pg}/{database}"

    def sql(self, database: str, text: str) -> str:
        return subprocess.run([self.bin / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d",
                               self.url("postgres", database), "-c", text], check=True, capture_output=True, text=True).stdout

    def stop(self) -> None:
        for p in reversed(self.processes):
            p.send_signal(signal.SIGINT)
            p.wait()


SEED = f"""
INSERT INTO users (id, email, cognito_sub, created_at)
  SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, n || '@users.invalid', 'user-' || n,
    now() - interval '400 days' FROM generate_series(0, {USERS - 1}) n;
INSERT INTO bio_profile (user_id, height_cm, weight_kg, birth_date, gender, primary_goal, timezone, is_fasting_enabled,
    fasting_start_time, fasting_end_time)
  SELECT id, 172, 70, '1990-05-05', 'female', 'maintain', 'UTC', true, '20:00', '04:00' FROM users;
INSERT INTO daily_plan (user_id, date, target_calories, target_protein, energy_score)
  SELECT id, d::date, 2000, 100, 71.5 FROM users, generate_series(current_date - 1, current_date + 1, '1 day') d;
INSERT INTO ops.days (user_id, date, timezone)
  SELECT id, d::date, 'UTC' FROM users, generate_series(current_date - 1, current_date + 1, '1 day') d;
INSERT INTO food_logs (user_id, log_time, food_name, calories, protein_g, carbs_g, fats_g)
  SELECT id, now() - n * interval '1 hour', 'Meal', 450, 30, 45, 16 FROM users, generate_series(0, 60) n;
INSERT INTO leftovers (id, user_id, recipe_name, total_servings, remaining_servings, calories_per_serving, macros_json)
  SELECT ('00000000-0000-4000-9000-' || right(id::text, 12))::uuid, id, 'Lentil stew', 999.9, 999.9, 420,
    '{{"p": 22.5, "c": 58, "f": 9.5}}' FROM users;
INSERT INTO health_metrics (time, user_id, source, steps_delta, active_energy_kcal)
  SELECT date_trunc('hour', now()) - n * interval '15 min', id, 'phone', 40, 2.5 FROM users, generate_series(0, 2880) n;
ANALYZE;
"""


class Side:
    """One implementation: how to start it, and its database."""

    running: list[subprocess.Popen] = []

    def __init__(self, name: str, command: list, env: dict, servers: Servers):
        self.name, self.command, self.servers = name, command, servers
        self.env = os.environ | env
        self.results: dict[str, list[dict]] = {}

    def start(self) -> None:
        self.port = free_port()
        subprocess.run(["redis-cli", "-p", str(self.servers.redis), "FLUSHALL"], check=True, stdout=subprocess.DEVNULL)
        self.spawn()
        wait_for(self.port, self.process)

    def spawn(self) -> None:
        command = [str(a).replace("PORT", str(self.port)) for a in self.command]
        self.process = subprocess.Popen(command, env=self.env, cwd=HERE, stdout=subprocess.DEVNULL)
        self.running.append(self.process)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.running.remove(self.process)

    def call(self, method: str, path: str, token: str, body=None, headers=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode())
        request.add_header("authorization", f"Bearer {token}")
        request.add_header("content-type", "application/json")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def request(method: str, path: str, token: str, body: bytes = b"", more: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n{more}"
    if body:
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def write(file: Path, requests) -> Path:
    with file.open("wb") as out:
        for one in requests:
            out.write(struct.pack("<I", len(one)) + one)
    return file


def batch(start: datetime, rows: int, spread: int) -> dict:
    """What a watch has of some hours: steps and energy by quarter hours, heart rate and its variability."""
    kinds = ["steps", "active_energy_kcal", "hrv_sdnn", "resting_hr"]
    records = []
    for i in range(rows):
        kind = kinds[i % 4]
        begin = start + timedelta(minutes=15 * (i // 4))
        record = {"id": f"r{i}", "kind": kind, "start": begin.isoformat(), "source": "watch",
                  "value": {"steps": 37 + (i * 7 + spread) % 400, "active_energy_kcal": 1.5 + (i + spread) % 20,
                            "hrv_sdnn": 30 + (i + spread) % 40, "resting_hr": 52 + (i + spread) % 12}[kind]}
        if i % 4 < 2:
            record["end"] = (begin + timedelta(minutes=15)).isoformat()
        records.append(record)
    return {"device": "Watch7,2", "records": records}


def measure(side: Side, name: str, load: list, file: Path, connections: int, rate: int, seconds: float, count: int) -> None:
    before = cpu_seconds(side.process.pid)
    out = subprocess.run([*load, f"127.0.0.1:{side.port}", file, str(connections), str(rate), str(seconds), str(count)],
                         check=True, capture_output=True, text=True).stdout
    result = json.loads(out)
    bad = {s: n for s, n in result["statuses"].items() if s != "200"}
    if bad:
        sys.exit(f"{side.name}, {name}: {bad}")
    result["cpu_us"] = 1e6 * (cpu_seconds(side.process.pid) - before) / result["requests"]
    result["per_second"] = result["requests"] / result["seconds"]
    side.results.setdefault(name, []).append(result)
    print(f"{side.name:8} {name:28} {result['per_second']:9.0f}/s  CPU {result['cpu_us']:8.0f} us  "
          f"p50 {result['p50_ms']:7.2f}  p99 {result['p99_ms']:7.2f} ms", file=sys.stderr)


def same(sides: list[Side], tokens: list[str], now: datetime) -> None:
    """Both give the same answers to the same requests."""
    answers = []
    for side in sides:
        leftover = "00000000-0000-4000-9000-000000000000"
        dashboard = [side.call("GET", "/dashboard/state", tokens[0]) for _ in range(2)]
        for one in dashboard:
            one["rings"]["outer_percent"] = round(one["rings"]["outer_percent"])
        eaten = side.call("POST", "/pantry/leftovers/consume", tokens[0],
                          {"leftover_id": leftover, "consumed_servings": 1.5}, {"idempotency-key": "same"})
        for volatile in ("id", "log_time"):
            del eaten["food_log"][volatile]
        # The same instant is written with Z and with +00:00.
        del eaten["leftover"]["created_at"]
        body = batch(now - timedelta(hours=30), 96, 3)
        body["records"].append(body["records"][0] | {"kind": "steps", "value": -4})
        body["records"].append({"kind": "steps", "start": (now - timedelta(hours=50)).isoformat(), "source": "watch",
                                "end": (now - timedelta(hours=49, minutes=20)).isoformat(), "value": 1001})
        synced = [side.call("POST", "/sync/batch", tokens[0], body) for _ in range(2)]
        body["records"][0]["value"] += 5
        synced.append(side.call("POST", "/sync/batch", tokens[0], body))
        for one in synced:
            del one["cursor"]
        rows = side.servers.sql(side.database, "SELECT * FROM health_metrics WHERE source = 'watch' ORDER BY time, source")
        answers.append((dashboard, eaten, synced, side.call("GET", "/dashboard/state", tokens[0])["totals"], rows))
    for what, ours, theirs in zip(("dashboard", "consume", "sync", "dashboard after", "rows"), *answers):
        if ours != theirs:
            sys.exit(f"the sides differ in {what}:\n{ours}\n{theirs}")


def first_answer_ms(side: Side, token: str) -> float:
    """From exec to the first dashboard, with the database up."""
    begun = time.perf_counter()
    side.port = free_port()
    side.spawn()
    raw = request("GET", "/dashboard/state", token, more="connection: close\r\n")
    while True:
        try:
            with socket.create_connection(("127.0.0.1", side.port), 5) as s:
                s.sendall(raw)
                if s.recv(12).endswith(b"200"):
                    break
        except OSError:
            time.sleep(0.001)
    took = 1e3 * (time.perf_counter() - begun)
    side.stop()
    return took


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("bff", type=Path)
    args.add_argument("load", type=Path)
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--bare", action="store_true", help="FastAPI without request ids, metrics and limits, which ours keeps")
    args.add_argument("--quick", action="store_true", help="small numbers, to see that it runs")
    args = args.parse_args()
    scale = 0.1 if args.quick else 1
    folder = Path(tempfile.mkdtemp(prefix="bff-bench-"))
    servers = Servers(folder)
    try:
        compare(args, scale, folder, servers)
    finally:
        for process in Side.running:
            process.kill()
        servers.stop()
        shutil.rmtree(folder)


def compare(args, scale: float, folder: Path, servers: Servers) -> None:
    keys = Keys(folder)
    tokens = [keys.token(u) for u in range(USERS)]
    for role, rest in (("bio_owner", "LOGIN CREATEROLE"), ("bio_api", "NOLOGIN"), ("bio_worker", "NOLOGIN"),
                       ("api_login", "LOGIN IN ROLE bio_api")):
        servers.sql("postgres", f"CREATE ROLE {role} {rest}")
    servers.sql("postgres", "CREATE DATABASE seed OWNER bio_owner")
    subprocess.run([args.bff, "migrate"], check=True, stdout=subprocess.DEVNULL,
                   env=os.environ | {"MIGRATE_DATABASE_URL": servers.url("bio_owner", "seed")})
    servers.sql("seed", SEED)
    common = {"BFF_COGNITO_ISSUER": ISSUER, "BFF_COGNITO_CLIENT_IDS": "app", "BFF_COGNITO_JWKS_URL": keys.url,
              "JWKS_FILE": str(keys.file), "REDIS_URL": f"redis://127.0.0.1:{servers.redis}",
              "BFF_SECRET": "a secret of the benchmark, long enough", "RUST_LOG": "warn"}
    ours = Side("bio-bff", [args.bff.resolve(), "serve", "--listen", "127.0.0.1:PORT"],
                common | {"TOKIO_WORKER_THREADS": "2"}, servers)
    theirs = Side("FastAPI", [sys.executable, "-m", "uvicorn", "server:app", "--host", "127.0.0.1", "--port", "PORT",
                              "--workers", "2", "--loop", "uvloop", "--http", "httptools", "--no-access-log",
                              "--log-level", "warning"], common | ({"BARE": "1"} if args.bare else {}), servers)
    sides = [ours, theirs]
    now = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
    for number, (side, database) in enumerate(zip(sides, ("ours", "theirs"))):
        side.env["REDIS_URL"] += f"/{number}"
        servers.sql("postgres", f"CREATE DATABASE {database} TEMPLATE seed OWNER bio_owner")
        side.database = database
        side.env["DATABASE_URL"] = servers.url("api_login", database)
        side.start()
    same(sides, tokens, now)
    for side in sides:
        side.stop()
    load = [args.load]
    dashboards = write(folder / "dashboards", (request("GET", "/dashboard/state", t) for t in tokens))
    syncs, consumes = int(1500 * scale), int(4000 * scale)
    for number in range(args.rounds):
        batches = write(folder / "batches", (
            request("POST", "/sync/batch", tokens[i % USERS],
                    json.dumps(batch(now - timedelta(days=20 + number, hours=6 * (i // USERS)), 96, i)).encode())
            for i in range(syncs)))
        eats = write(folder / "eats", (
            request("POST", "/pantry/leftovers/consume", tokens[i % USERS],
                    json.dumps({"leftover_id": f"00000000-0000-4000-9000-{i % USERS:012}", "consumed_servings": 0.1}).encode(),
                    f"idempotency-key: round-{number}-{i}\r\n")
            for i in range(consumes)))
        large = write(folder / "large", [request("POST", "/sync/batch", tokens[number % USERS], json.dumps(
            batch(now - timedelta(days=31, hours=1), 10_000, number)).encode())])
        for side in sides if number % 2 == 0 else sides[::-1]:
            side.start()
            measure(side, "dashboard, warm-up", load, dashboards, 16, 0, 2 * scale, 0)
            measure(side, "dashboard, cached", load, dashboards, 16, 0, 6 * scale, 0)
            measure(side, "dashboard, cached, 2,000/s", load, dashboards, 32, 2000, 6 * scale, 0)
            measure(side, "consume", load, eats, 16, 0, 0, consumes)
            measure(side, "sync of 96 rows", load, batches, 8, 0, 0, syncs)
            measure(side, "sync of 10,000 rows", load, large, 1, 0, 0, 1)
            side.results.setdefault("peak", []).append({"mib": peak_mib(side.process.pid)})
            side.stop()
            side.results.setdefault("first", []).append({"ms": first_answer_ms(side, tokens[1])})
    report(sides)


def report(sides: list[Side]) -> None:
    def median(side: Side, name: str, what: str) -> float:
        return statistics.median(r[what] for r in side.results[name])

    ours, theirs = sides
    print("| path | | bio-bff | FastAPI | ratio |\n|---|---|---|---|---|")
    rows = [("dashboard, cached", ["cpu_us", "per_second", "p99_ms"]),
            ("dashboard, cached, 2,000/s", ["cpu_us", "p99_ms"]),
            ("consume", ["cpu_us", "per_second", "p99_ms"]),
            ("sync of 96 rows", ["cpu_us", "per_second", "p99_ms"]),
            ("sync of 10,000 rows", ["cpu_us", "max_ms"])]
    words = {"cpu_us": "CPU per request, us", "per_second": "requests/s", "p99_ms": "p99, ms", "max_ms": "time, ms"}
    for name, whats in rows:
        for what in whats:
            a, b = median(ours, name, what), median(theirs, name, what)
            ratio = a / b if what == "per_second" else b / a
            digits = 2 if what.endswith("ms") and name != "sync of 10,000 rows" else 0
            print(f"| {name} | {words[what]} | {a:.{digits}f} | {b:.{digits}f} | {ratio:.1f} |")
    for name, what, word in (("peak", "mib", "peak memory, MiB"), ("first", "ms", "exec to the first dashboard, ms")):
        a, b = median(ours, name, what), median(theirs, name, what)
        print(f"| all | {word} | {a:.0f} | {b:.0f} | {b / a:.1f} |")


if __name__ == "__main__":
    main()
