"""Small environments for unit tests, one for each way in which author code can run."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from openenv.environment import Environment
from openenv.models import Action, Observation, State, field


class NoteAction(Action):
    """What the environments here understand."""

    message: str
    wait_s: float = field(default=0.0, ge=0)
    fail: bool = False


class NoteObservation(Observation):
    """What they answer."""

    echoed: str = ""
    thread: str = ""
    seed: Any = None


class NoteState(State):
    """A state with a field of its own."""

    threads: list[str] = field(default_factory=list)


class LoopEnv(Environment[NoteAction, NoteObservation, NoteState]):
    """Runs on the loop. Keeps the names of the threads that it was called on."""

    SUPPORTS_CONCURRENT_SESSIONS = True
    NEVER_BLOCKS = True
    closed = 0
    release: threading.Event | None = None

    def __init__(self) -> None:
        super().__init__()
        self.threads = [threading.current_thread().name]
        self.step_count = 0

    def reset(self, seed: Any = None) -> NoteObservation:
        self.threads.append(threading.current_thread().name)
        self.step_count = 0
        return NoteObservation(seed=seed)

    def step(self, action: NoteAction) -> NoteObservation:
        self.threads.append(threading.current_thread().name)
        self.step_count += 1
        if action.fail:
            raise KeyError("lost")
        if action.wait_s and type(self).release is not None:
            type(self).release.wait(action.wait_s)
        return NoteObservation(echoed=action.message, thread=self.threads[-1], reward=1.0)

    @property
    def state(self) -> NoteState:
        self.threads.append(threading.current_thread().name)
        return NoteState(step_count=self.step_count, threads=list(self.threads))

    def close(self) -> None:
        self.threads.append(threading.current_thread().name)
        type(self).closed += 1


class ThreadEnv(LoopEnv):
    """Runs on a thread of its session."""

    NEVER_BLOCKS = False


class AsyncEnv(LoopEnv):
    """Steps and resets are awaited; the rest runs on the session's thread."""

    NEVER_BLOCKS = False

    async def reset(self, seed: Any = None) -> NoteObservation:  # type: ignore[override]
        await asyncio.sleep(0)
        return NoteObservation(seed=seed)

    async def step(self, action: NoteAction) -> NoteObservation:  # type: ignore[override]
        await asyncio.sleep(action.wait_s)
        if action.fail:
            raise KeyError("lost")
        return NoteObservation(echoed=action.message, thread=threading.current_thread().name)


class TimedEnv(LoopEnv):
    """Hears of the time that the caller gives it."""

    def step(self, action: NoteAction, timeout_s: float | None = None) -> NoteObservation:  # type: ignore[override]
        return NoteObservation(seed=timeout_s)


class BadCloseEnv(LoopEnv):
    """Cannot be closed without noise."""

    def close(self) -> None:
        super().close()
        raise OSError("disk is gone")


class NoFactoryEnv(LoopEnv):
    """Cannot be made."""

    def __init__(self) -> None:
        raise RuntimeError("no licence")


class ThreadNoFactoryEnv(NoFactoryEnv):
    """Cannot be made, on a thread."""

    NEVER_BLOCKS = False
