"""The benchmark environment by itself, without a server."""

import asyncio
import time

import pytest
from benchmark import BenchmarkAction, BenchmarkObservation
from benchmark.server.environment import BenchmarkEnvironment


@pytest.fixture
def env() -> BenchmarkEnvironment:
    made = BenchmarkEnvironment()
    made.reset()
    return made


def test_a_step_that_asks_for_nothing_takes_no_time(env: BenchmarkEnvironment) -> None:
    """And has neither waited nor computed."""
    observation = asyncio.run(env.step(BenchmarkAction()))
    assert (observation.waited_s, observation.cpu_used_s, observation.payload) == (0.0, 0.0, "")
    assert observation.took_s < 0.5


def test_waits_of_many_sessions_pass_at_the_same_time() -> None:
    """A hundred waits of 50 ms are nowhere near 5 s."""

    async def play() -> list[BenchmarkObservation]:
        return await asyncio.gather(
            *(BenchmarkEnvironment().step(BenchmarkAction(wait_s=0.05)) for _ in range(100))
        )

    begun_at = time.perf_counter()
    observations = asyncio.run(play())
    assert time.perf_counter() - begun_at < 2.5
    assert all(observation.waited_s > 0.04 for observation in observations)
    assert len({observation.session_id for observation in observations}) == 100


def test_computing_uses_the_processor_and_does_not_hold_up_the_loop(env: BenchmarkEnvironment) -> None:
    """Another session's wait ends while this one computes."""

    async def play() -> tuple[BenchmarkObservation, bool]:
        computing = asyncio.create_task(env.step(BenchmarkAction(cpu_s=0.3)))
        await BenchmarkEnvironment().step(BenchmarkAction(wait_s=0.01))
        first = not computing.done()
        return await computing, first

    observation, waited_first = asyncio.run(play())
    assert waited_first
    assert 0.3 <= observation.cpu_used_s < 0.6
    assert observation.took_s >= observation.cpu_used_s * 0.9


def test_computing_ends_with_its_session(env: BenchmarkEnvironment) -> None:
    """A step that is cancelled leaves nothing behind that burns on."""

    async def play() -> float:
        computing = asyncio.create_task(env.step(BenchmarkAction(cpu_s=60.0)))
        await asyncio.sleep(0.05)
        computing.cancel()
        await asyncio.gather(computing, return_exceptions=True)
        used_before = time.process_time()
        await asyncio.sleep(0.3)
        return time.process_time() - used_before

    assert asyncio.run(play()) < 0.15


def test_the_payload_has_the_size_that_was_asked_for(env: BenchmarkEnvironment) -> None:
    """In bytes, as ASCII."""
    observation = asyncio.run(env.step(BenchmarkAction(payload_bytes=1000)))
    assert len(observation.payload.encode()) == 1000


def test_the_state_counts_the_episode_and_a_reset_begins_another(env: BenchmarkEnvironment) -> None:
    """The session stays the same."""
    asyncio.run(env.step(BenchmarkAction(wait_s=0.01)))
    session_id = env.state.session_id
    assert env.state.step_count == 1
    assert env.state.waited_s > 0
    env.reset(episode_id="second")
    assert (env.state.episode_id, env.state.step_count, env.state.waited_s) == ("second", 0, 0.0)
    assert env.state.session_id == session_id
