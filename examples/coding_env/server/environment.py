"""The coding environment: a Python interpreter for each session, behind a sandbox."""

from collections.abc import Callable
from html import escape
from typing import Any
from uuid import uuid4

from openenv import Environment, EnvironmentMetadata, Transform

from ..models import CodeAction, CodeObservation, CodeState
from .choice import choose
from .interpreter import Interpreter, LostError, Outcome
from .settings import Settings, read_settings

_ANSWER_MARGIN_S = 0.25


class RunReward(Transform[CodeObservation]):
    """The default reward: whether the code ran.

    Replace it with a `Transform` of your own; it gets the observation and sets its `reward`.

    Args:
        ran: For code that ran to its end.
        failed: For an exception, or another exit code than 0.
        lost: For code that cost the interpreter: time limit, memory, a crash.
    """

    def __init__(self, ran: float = 0.1, failed: float = -0.1, lost: float = -1.0) -> None:
        self.ran, self.failed, self.lost = ran, failed, lost

    def __call__(self, observation: CodeObservation) -> CodeObservation:
        """Set the reward of an observation and give it back."""
        if observation.restarted:
            observation.reward = self.lost
        else:
            observation.reward = self.ran if observation.exit_code == 0 else self.failed
        return observation


class CodingEnvironment(Environment[CodeAction, CodeObservation, CodeState]):
    """Runs Python, one interpreter for each session.

    Args:
        transform: Sets rewards, and may change observations; `RunReward` where neither it nor a rubric
            is given.
        rubric: Computes rewards from ``(action, observation)``, for those that depend on the code.
        settings: Limits; read from the environment variables by default.

    Raises:
        ConfigurationError: This machine has no sandbox, and nobody said that none is needed.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True  # its objects share nothing but what was found out about the machine

    def __init__(
        self,
        transform: Transform[CodeObservation] | None = None,
        rubric: Callable[..., Any] | None = None,
        settings: Settings | None = None,
    ) -> None:
        if transform is None and rubric is None:
            transform = RunReward()
        super().__init__(transform, rubric)
        self.settings = settings or read_settings()
        self.choice = choose(self.settings)
        self._interpreter: Interpreter | None = None
        self._state = CodeState(episode_id=str(uuid4()))

    def reset(self, seed: int | None = None, episode_id: str | None = None) -> CodeObservation:
        """Begin an episode with a fresh interpreter. There is nothing random, so the seed changes nothing."""
        self.close()
        self._state = CodeState(episode_id=episode_id or str(uuid4()))
        self._reset_rubric()
        self._interpreter = Interpreter(self.choice.sandbox, self.settings)
        return CodeObservation(reward=0.0)

    def step(self, action: CodeAction, timeout_s: float | None = None) -> CodeObservation:
        """Run code. It never raises for what the code does: that is in the observation.

        Args:
            action: The code.
            timeout_s: What the client is going to wait: the code is stopped a little earlier, so that the
                session says so itself and goes on.
        """
        self._state.step_count += 1
        if timeout_s is not None:
            timeout_s = max(timeout_s / 2, timeout_s - _ANSWER_MARGIN_S)
        outcome = self._run(action.code, timeout_s)
        self._state.last_exit_code = outcome.exit_code
        observation = CodeObservation(
            stdout=outcome.stdout,
            stderr=outcome.stderr,
            exit_code=outcome.exit_code,
            result=outcome.result,
            output_cut=outcome.output_cut,
            timed_out=outcome.timed_out,
            restarted=outcome.restarted,
        )
        if self.rubric is not None:
            observation.reward = self._apply_rubric(action, observation)
        return self._apply_transform(observation)

    @property
    def state(self) -> CodeState:
        """The episode's id, its steps, the last exit code and how many interpreters were lost."""
        return self._state

    def get_metadata(self) -> EnvironmentMetadata:
        """Name and limits, and which walls the code is behind."""
        limits = self.settings
        return EnvironmentMetadata(
            name="coding_env",
            description="Runs Python in a session that remembers its variables. "
            f"Sandbox: {self.choice.in_force}. Limits: {limits.timeout_s:g} s a step, "
            f"{limits.max_output} characters of output, {limits.memory_bytes >> 20} MiB of memory, "
            f"{limits.disk_bytes >> 20} MiB of files.",
            version="0.1.0",
        )

    def close(self) -> None:
        """End the interpreter with all that it started."""
        interpreter, self._interpreter = self._interpreter, None
        if interpreter is not None:
            interpreter.close()
            interpreter.release()

    def render_web(self, observation: dict[str, Any]) -> str | None:
        """The output as a terminal would show it."""
        parts = [("stdout", ""), ("stderr", "color:#c0392b")]
        shown = [
            f'<pre style="margin:0;white-space:pre-wrap;{style}">{escape(str(observation[name]))}</pre>'
            for name, style in parts
            if observation.get(name)
        ]
        if observation.get("result") is not None:
            shown.append(
                f'<pre style="margin:0;white-space:pre-wrap">→ {escape(str(observation["result"]))}</pre>'
            )
        shown.append(f"<p>exit code {escape(str(observation.get('exit_code')))}</p>")
        return "".join(shown)

    def _run(self, code: str, timeout_s: float | None) -> Outcome:
        try:
            if self._interpreter is None:
                self._interpreter = Interpreter(self.choice.sandbox, self.settings)
            outcome = self._interpreter.run(code, timeout_s)
        except LostError as error:
            # The machine has no room for another process just now: the session's problem, not the server's.
            outcome = Outcome(stdout="", stderr=f"[session] {error}\n", exit_code=1, restarted=True)
        if outcome.restarted:
            self._state.restarts += 1
            self.close()
        return outcome
