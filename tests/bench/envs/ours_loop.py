"""The same echo environment, which says of itself that it never blocks: it runs on the event loop."""

from ours_threaded import EchoAction, EchoEnvironment, EchoObservation

from openenv import create_app


class LoopEchoEnvironment(EchoEnvironment):
    """Gives back each message that it is sent, on the loop."""

    NEVER_BLOCKS = True


app = create_app(
    LoopEchoEnvironment, EchoAction, EchoObservation, env_name="bench_echo", max_concurrent_envs=100_000
)
