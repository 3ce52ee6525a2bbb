"""The official RunPod client against a running `dragunov serve --engine stub` (cases H1 to H8, H10).

Requires: runpod==1.12.0, aiohttp (a dependency of runpod). Usage: RUNPOD_ENDPOINT_BASE_URL=http://127.0.0.1:PORT/v2
python runpod_client.py KEY. The server must have been started with that key.
"""

import asyncio
import os
import sys
import time

import runpod
from runpod import AsyncioEndpoint, AsyncioJob, http_client

KEY = sys.argv[1]
runpod.api_key = KEY
BASE = os.environ["RUNPOD_ENDPOINT_BASE_URL"]
assert runpod.endpoint_url_base == BASE, runpod.endpoint_url_base


def check(name, ok, seen=None):
    print(("ok   " if ok else "FAIL ") + name + ("" if ok else f": {seen!r}"), flush=True)
    if not ok:
        sys.exit(1)


def sync_client():
    endpoint = runpod.Endpoint("any")
    job = endpoint.run({"mock_return": {"answer": 42}, "mock_delay": 0.2})
    check("run: a known state", job.status() in ("IN_QUEUE", "IN_PROGRESS", "COMPLETED"))
    check("output", job.output(timeout=30) == {"answer": 42})
    check("status of an ended job", job.status() == "COMPLETED")

    check("run_sync", endpoint.run_sync({"input": {"mock_return": "x"}}, timeout=30) == "x")
    check("run_sync of a failing job", endpoint.run_sync({"input": {"mock_error": True}}, timeout=30) is None)

    stream = endpoint.run({"mock_chunks": [{"i": 0}, {"i": 1}, {"i": 2}]})
    check("stream", [c["output"]["i"] if "output" in c else c["i"] for c in stream.stream()] == [0, 1, 2])
    plain = endpoint.run({"mock_return": 1})
    check("stream of a job without chunks ends", list(plain.stream()) == [])
    failed = endpoint.run({"mock_raise": "boom"})
    check("stream of a failed job ends", list(failed.stream()) == [])

    blocker = endpoint.run({"mock_delay": 60})
    while blocker.status() == "IN_QUEUE":
        time.sleep(0.05)
    waiting = [endpoint.run({"mock_return": i}) for i in range(4)]
    begun = time.time()
    health = endpoint.health()
    check("health in a busy moment", time.time() - begun < 3 and health["jobs"]["inProgress"] == 1, health)
    check("cancel a queued job", waiting[-1].cancel()["status"] == "CANCELLED")
    purged = endpoint.purge_queue()
    check("purge_queue", purged["status"] == "completed" and purged["removed"] >= 2, purged)
    check("cancel a running job", blocker.cancel()["status"] == "CANCELLED")
    check("and it stays so", blocker.status() == "CANCELLED")

    runpod.api_key = "wrong"
    try:
        runpod.Endpoint("any", api_key="wrong").run_sync({"input": {"mock_return": 1}}, timeout=5)
        check("a wrong key is refused", False, "no error")
    except RuntimeError as error:
        check("a wrong key is refused", "401" in str(error), error)
    runpod.api_key = KEY


async def async_client():
    async with http_client.AsyncClientSession() as session:
        endpoint = AsyncioEndpoint("any", session)
        job: AsyncioJob = await endpoint.run({"mock_return": [1, 2], "mock_delay": 0.1})
        check("async output", await job.output(timeout=30) == [1, 2])
        check("async status", await job.status() == "COMPLETED")
        stream = await endpoint.run({"mock_chunks": ["a", "b"]})
        check("async stream", [c async for c in stream.stream()] == ["a", "b"])
        long = await endpoint.run({"mock_delay": 60})
        check("async cancel", (await long.cancel())["status"] == "CANCELLED")
        check("async health", "workers" in await endpoint.health())
        check("async purge", (await endpoint.purge_queue())["status"] == "completed")


def published_cases():
    """The four cases of runpod-python's own end-to-end list, in the mock worker's language."""
    endpoint = runpod.Endpoint("any")
    for case, want in [
        ({"mock_return": "this worked!"}, "this worked!"),
        ({"mock_return": "Delay test successful.", "mock_delay": 2}, "Delay test successful."),
        ({"mock_chunks": ["value1", "value2", "value3"]}, ["value1", "value2", "value3"]),
        ({"mock_return": None, "mock_chunks": ["value1", "value2"]}, ["value1", "value2"]),
    ]:
        check(f"case {case}", endpoint.run(case).output(timeout=30) == want)


sync_client()
asyncio.run(async_client())
published_cases()
print("all passed")
