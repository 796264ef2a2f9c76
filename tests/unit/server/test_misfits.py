"""Models that do not fit, made by an environment's own code."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

from openenv.schema import schema_of
from tests.support import envs
from tests.support.worker import Worker
from tests.unit.server.test_connection import play, replies, step, upgraded


class Judged(pydantic.BaseModel):
    """What an environment makes of a text that it was given."""

    score: int


def misfit_of_pydantic(message: str) -> None:
    Judged.model_validate({"score": message})


def misfit_of_ours(message: str) -> None:
    schema_of(envs.NoteAction).load({"message": message, "wait_s": -1})


@pytest.mark.parametrize("env", [envs.LoopEnv, envs.ThreadEnv, envs.AsyncEnv])
@pytest.mark.parametrize(
    ("misfit", "loc"),
    [(misfit_of_pydantic, ["score"]), (misfit_of_ours, ["wait_s"])],
    ids=["pydantic", "ours"],
)
def test_a_model_that_does_not_fit_inside_a_step_is_a_validation_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, env: Any, misfit: Any, loc: list[str]
) -> None:
    """Existing clients know it by that code, with what is wrong; the log has where it was raised."""

    async def test(worker: Worker) -> None:
        def raises(env: Any, action: Any) -> None:
            misfit(action.message)

        async def raises_later(env: Any, action: Any) -> None:
            misfit(action.message)

        monkeypatch.setattr(env, "step", raises_later if env is envs.AsyncEnv else raises)
        transport = await upgraded(worker)
        transport.protocol.data_received(step("high"))
        (reply,) = replies(await transport.until(b"}}"))
        data = reply["data"]
        assert (data["message"], data["code"]) == ("Invalid message", "VALIDATION_ERROR")
        assert [error["loc"] for error in data["errors"]] == [loc]
        assert data.keys() == {"message", "code", "errors"}
        monkeypatch.undo()
        transport.protocol.data_received(step("on"))
        (reply,) = replies(await transport.until(b"}}"))
        assert reply["type"] == "observation"

    play(test, env)
    if misfit is misfit_of_pydantic:
        assert "step raised" in caplog.text
