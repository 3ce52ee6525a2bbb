"""A RunPod worker for the conformance suite: it does what its job's input says. With STREAM=1 it is a generator.

Requires: runpod==1.12.0. See docs/conformance.md for the orders.
"""

import asyncio
import os
import time

import runpod


def orders(job):
    given = job["input"]
    return given if isinstance(given, dict) else {"mock_return": given}


async def answer(job):
    order = orders(job)
    time.sleep(order.get("mock_block", 0))
    await asyncio.sleep(order.get("mock_delay", 0))
    progress = order.get("mock_progress", {})
    for update in progress.get("updates", []):
        runpod.serverless.progress_update(job, update)
        await asyncio.sleep(progress.get("wait_time", 0))
    if "mock_raise" in order:
        raise RuntimeError(order["mock_raise"])
    result = order.get("mock_return")
    return {**result, "refresh_worker": True} if order.get("mock_refresh") else result


async def stream(job):
    order = orders(job)
    for chunk in order.get("mock_chunks", []):
        yield chunk
    if "mock_raise" in order:
        raise RuntimeError(order["mock_raise"])


runpod.serverless.start({
    "handler": stream if os.environ.get("STREAM") else answer,
    "concurrency_modifier": lambda _: int(os.environ.get("CONCURRENCY", "1")),
})
