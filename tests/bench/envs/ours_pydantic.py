"""The incumbent's echo environment with one line added: it never blocks, so it runs on the loop."""

from incumbent_echo import EchoAction, EchoEnvironment, EchoObservation

from openenv.core.env_server.http_server import create_app


class LoopEchoEnvironment(EchoEnvironment):
    """The same, on the loop."""

    NEVER_BLOCKS = True


app = create_app(
    LoopEchoEnvironment, EchoAction, EchoObservation, env_name="bench_echo", max_concurrent_envs=100_000
)
