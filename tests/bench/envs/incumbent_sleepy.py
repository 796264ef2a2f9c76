"""The incumbent's echo environment, one of whose messages makes its step sleep."""

import time

from incumbent_echo import EchoAction, EchoEnvironment, EchoObservation

from openenv.core.env_server.http_server import create_app


class SleepyEchoEnvironment(EchoEnvironment):
    """Sleeps as many seconds as ``sleep N`` says, and echoes like the others."""

    def step(self, action: EchoAction) -> EchoObservation:
        """Echo one message, at once or later."""
        if action.message.startswith("sleep "):
            time.sleep(float(action.message[6:]))
        return super().step(action)


app = create_app(
    SleepyEchoEnvironment, EchoAction, EchoObservation, env_name="bench_echo", max_concurrent_envs=100_000
)
