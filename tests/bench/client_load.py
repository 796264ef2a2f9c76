"""One client of the bench, measured from inside: run by ``bench_client.py`` in either environment.

    python client_load.py TASK URL SESSIONS SECONDS LOOP

TASK is ``sync``, ``async`` (SESSIONS tasks, each stepping its own session), ``connect`` (SESSIONS
sessions connected and reset in one gather, then closed), ``cycles`` or ``cycles-async`` (SESSIONS
times connect, reset, step, close) or ``import``. It prints one JSON object. Written for both: the
client classes are what each project tells its users to write. Every reply is checked; a wrong one
ends it.
"""

import asyncio
import json
import os
import resource
import sys
import threading
import time

started = time.perf_counter()
if sys.argv[1] == "import":
    try:
        import openenv.client as client_package
    except ImportError:
        import openenv.core.env_client as client_package
else:
    try:
        from openenv.client import EnvClient
        from openenv.models import Action, Observation, State

        class EchoAction(Action):
            """A message to echo."""

            message: str

        class EchoObservation(Observation):
            """The echoed message."""

            echoed_message: str = ""
            message_length: int = 0

        class EchoEnv(EnvClient[EchoAction, EchoObservation, State]):
            """Ours: types, and nothing else."""

    except ImportError:
        from openenv.core import EnvClient
        from openenv.core.client_types import StepResult
        from openenv.core.env_server.types import Action, Observation, State

        class EchoAction(Action):
            """A message to echo."""

            message: str

        class EchoObservation(Observation):
            """The echoed message."""

            echoed_message: str = ""
            message_length: int = 0

        class EchoEnv(EnvClient[EchoAction, EchoObservation, State]):
            """The incumbent's, as its template writes one."""

            def _step_payload(self, action):
                return {"message": action.message}

            def _parse_result(self, payload):
                shown = payload.get("observation", {})
                observation = EchoObservation(
                    echoed_message=shown.get("echoed_message", ""),
                    message_length=shown.get("message_length", 0),
                    done=payload.get("done", False),
                    reward=payload.get("reward"),
                    metadata=shown.get("metadata", {}),
                )
                return StepResult(
                    observation=observation, reward=payload.get("reward"), done=payload.get("done", False)
                )

            def _parse_state(self, payload):
                return State(episode_id=payload.get("episode_id"), step_count=payload.get("step_count", 0))


imported_s = time.perf_counter() - started


WINDOW_S = 0.1
N_ACTIONS = 16


class WrongReplyError(Exception):
    """A reply was not the one to the action that was sent last."""


def actions_of(session):
    """Actions that no other session sends, and what is echoed."""
    messages = [f"session {session}, message {index}" for index in range(N_ACTIONS)]
    return [(EchoAction(message=message), message, len(message)) for message in messages]


def check(result, message, length):
    """See that a result is that of this message."""
    seen = result.observation
    if seen.echoed_message != message or seen.message_length != length or not result.reward or result.done:
        raise WrongReplyError(f"{message!r} was answered with {result!r}")


def check_first(result):
    """See that a result is that of a reset."""
    if result.observation.echoed_message != "Echo is ready!" or result.done:
        raise WrongReplyError(f"a reset was answered with {result!r}")


class Windows:
    """Steps counted per tenth of a second: the best window is what a busy machine disturbed least."""

    def __init__(self, seconds):
        self.begin = self.window = time.perf_counter()
        self.end = self.begin + seconds
        self.busy = time.process_time()
        self.n_steps = self.n_before = 0
        self.rates = []

    def count(self, n_steps):
        """Count steps; whether there is time for more."""
        self.n_steps += n_steps
        now = time.perf_counter()
        if now - self.window >= WINDOW_S:
            self.rates.append((self.n_steps - self.n_before) / (now - self.window))
            self.window, self.n_before = now, self.n_steps
        return now < self.end

    def outcome(self):
        """Steps per second overall and in the best window, and processor time per step."""
        busy_s = time.process_time() - self.busy
        taken_s = time.perf_counter() - self.begin
        return {
            "steps_per_s": self.n_steps / taken_s,
            "best_per_s": max(self.rates),
            "cpu_us_per_step": busy_s * 1e6 / self.n_steps,
        }


def sync(url, sessions, seconds):
    """Steps per second of one synchronous client."""
    with EchoEnv(base_url=url).sync() as client:
        check_first(client.reset())
        actions = actions_of(0)
        windows = Windows(seconds)
        while windows.count(N_ACTIONS):
            for action, message, length in actions:
                check(client.step(action), message, length)
        return windows.outcome()


async def steps(url, sessions, seconds):
    """Steps per second of as many asynchronous clients, each in a task of its own."""
    clients = [EchoEnv(base_url=url, message_timeout_s=120) for _ in range(sessions)]
    for client in clients:
        await client.__aenter__()
        check_first(await client.reset())
    windows = Windows(seconds)

    async def run(client, session):
        actions = actions_of(session)
        while windows.count(N_ACTIONS):
            for action, message, length in actions:
                check(await client.step(action), message, length)

    await asyncio.gather(*map(run, clients, range(sessions)))
    outcome = windows.outcome()
    for client in clients:
        await client.close()
    return outcome


async def connect(url, sessions, seconds):
    """Seconds from nothing to every session having been reset, all asked for at once."""
    clients = [EchoEnv(base_url=url, connect_timeout_s=60, message_timeout_s=60) for _ in range(sessions)]

    async def begin_episode(client):
        await client.__aenter__()
        check_first(await client.reset())

    begin = time.perf_counter()
    outcomes = await asyncio.gather(*map(begin_episode, clients), return_exceptions=True)
    taken_s = time.perf_counter() - begin
    failures = [repr(outcome) for outcome in outcomes if outcome is not None]
    begin = time.perf_counter()
    await asyncio.gather(*(client.close() for client in clients), return_exceptions=True)
    return {
        "connect_s": taken_s,
        "close_s": time.perf_counter() - begin,
        "failures": len(failures),
        "first": failures[:1],
    }


def footprint():
    """What must not grow: descriptors, threads, resident kilobytes."""
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * resource.getpagesize() // 1024
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "kb": resident,
    }


def cycles(url, sessions, seconds):
    """Connect, reset, step, close, again and again; what was held after a tenth and at the end."""
    begin = time.perf_counter()
    early = {}
    ((action, message, length), *_) = actions_of(0)
    for index in range(sessions):
        with EchoEnv(base_url=url).sync() as client:
            check_first(client.reset())
            check(client.step(action), message, length)
        if index == sessions // 10:
            early = footprint()
    return {"cycles_per_s": sessions / (time.perf_counter() - begin), "early": early, "late": footprint()}


async def cycles_async(url, sessions, seconds):
    """The same on an event loop."""
    begin = time.perf_counter()
    early = {}
    ((action, message, length), *_) = actions_of(0)
    for index in range(sessions):
        async with EchoEnv(base_url=url) as client:
            check_first(await client.reset())
            check(await client.step(action), message, length)
        if index == sessions // 10:
            early = footprint()
    return {"cycles_per_s": sessions / (time.perf_counter() - begin), "early": early, "late": footprint()}


def main():
    """Run the task that the command line names."""
    task, url, sessions, seconds, loop = sys.argv[1:6]
    if task == "import":
        modules = sorted(name for name in sys.modules if name.startswith("openenv"))
        print(json.dumps({"import_s": imported_s, "modules": modules, "path": client_package.__file__}))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    arguments = (url, int(sessions), float(seconds))
    if task in ("sync", "cycles"):
        outcome = {"sync": sync, "cycles": cycles}[task](*arguments)
    else:
        coroutines = {"async": steps, "connect": connect, "cycles-async": cycles_async}
        coroutine = coroutines[task](*arguments)
        if loop == "uvloop":
            import uvloop

            outcome = uvloop.run(coroutine)
        else:
            outcome = asyncio.run(coroutine)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = used.ru_utime + used.ru_stime
    print(json.dumps({**outcome, "cpu_s": cpu_s, "footprint": footprint()}))


main()
