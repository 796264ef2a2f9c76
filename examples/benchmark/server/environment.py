"""The benchmark environment: a step costs what it is told to cost, and says who served it."""

import asyncio
import hashlib
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from openenv import Environment

from ..models import BenchmarkAction, BenchmarkObservation, BenchmarkState

# No more threads burn at once than there are processors: further ones would only slow each other down. The
# pool has no thread before its first use, so a server may fork its workers after this line.
_burners = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="benchmark-cpu")
_BLOCK = bytes(256 * 1024)


class BenchmarkEnvironment(Environment[BenchmarkAction, BenchmarkObservation, BenchmarkState]):
    """Waits and computes as each action says.

    A wait is awaited on the event loop, so that a thousand sessions that wait cost no thread. What computes
    does so on a thread, in C code that holds no interpreter lock: other sessions only share the processor.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True  # its objects share nothing but a pool of threads
    NEVER_BLOCKS = True  # what is not awaited is short

    def __init__(self) -> None:
        super().__init__()
        # One object serves one session, from its first message to its last.
        self._session_id = str(uuid4())
        self._state = BenchmarkState(session_id=self._session_id, worker=_worker())

    def reset(self, episode_id: str | None = None) -> BenchmarkObservation:
        """Begin an episode. It takes no seed: what is measured never comes out the same twice."""
        self._state = BenchmarkState(
            episode_id=episode_id or str(uuid4()), session_id=self._session_id, worker=_worker()
        )
        return self._observation()

    async def step(self, action: BenchmarkAction) -> BenchmarkObservation:
        """Wait, then compute, then answer with the payload; the reward is the seconds that it took."""
        begun_at = time.perf_counter()
        if action.wait_s:
            await asyncio.sleep(action.wait_s)
        waited_s = time.perf_counter() - begun_at if action.wait_s else 0.0
        cpu_used_s = await _burn(action.cpu_s) if action.cpu_s else 0.0
        state = self._state
        state.step_count += 1
        state.waited_s += waited_s
        state.cpu_used_s += cpu_used_s
        observation = self._observation()
        observation.waited_s = waited_s
        observation.cpu_used_s = cpu_used_s
        observation.payload = "x" * action.payload_bytes
        observation.took_s = time.perf_counter() - begun_at
        observation.reward = observation.took_s
        return observation

    @property
    def state(self) -> BenchmarkState:
        """The episode so far, and who serves it."""
        return self._state

    def _observation(self) -> BenchmarkObservation:
        return BenchmarkObservation(
            host=_HOST, pid=os.getpid(), worker=_worker(), session_id=self._session_id, reward=0.0
        )


async def _burn(cpu_s: float) -> float:
    """Use a processor for so long, and give back how long it was used; ends early with its session."""
    ended = threading.Event()
    try:
        return await asyncio.get_running_loop().run_in_executor(_burners, _compute, cpu_s, ended)
    finally:
        ended.set()


def _compute(cpu_s: float, ended: threading.Event) -> float:
    begun_at = time.thread_time()
    while (used_s := time.thread_time() - begun_at) < cpu_s and not ended.is_set():
        hashlib.sha256(_BLOCK)  # half a millisecond, without the interpreter lock
    return used_s


_HOST = socket.gethostname()


def _worker() -> str:
    # Asked each time: a worker is a fork of the process that imported this module.
    return f"{_HOST}:{os.getpid()}"
