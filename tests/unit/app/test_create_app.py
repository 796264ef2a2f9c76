"""What `create_app` takes, infers and refuses."""

from __future__ import annotations

import logging
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from openenv import Action, Environment, Observation, State, create_app
from openenv.errors import ConcurrencyConfigurationError, ConfigurationError
from tests.support import envs


def test_types_come_from_the_class_parameters() -> None:
    """`Environment[A, O, S]` says them all."""
    app = create_app(envs.LoopEnv)
    assert app.definition.environment.action.cls is envs.NoteAction
    assert app.definition.observation.cls is envs.NoteObservation
    assert app.definition.state.cls is envs.NoteState


def test_types_come_from_annotations_of_methods() -> None:
    """Where the class has no parameters."""

    class Annotated(Environment):  # type: ignore[type-arg]
        def reset(self) -> envs.NoteObservation:
            return envs.NoteObservation()

        def step(self, action: envs.NoteAction) -> envs.NoteObservation:
            return envs.NoteObservation()

        @property
        def state(self) -> envs.NoteState:
            return envs.NoteState()

    definition = create_app(Annotated).definition
    assert definition.environment.action.cls is envs.NoteAction
    assert definition.observation.cls is envs.NoteObservation
    assert definition.state.cls is envs.NoteState


def test_types_that_nobody_says_are_asked_for() -> None:
    """The message names the class, the keyword and the way out."""

    class Bare(Environment):  # type: ignore[type-arg]
        def step(self, action):  # type: ignore[no-untyped-def]
            return None

    with pytest.raises(ConfigurationError, match=r"cannot tell the action_cls of Bare.*pass action_cls="):
        create_app(Bare)
    assert create_app(Bare, Action, Observation).definition.state.cls is State


def test_an_instance_is_refused_with_what_to_do() -> None:
    """A TypeError, as the incumbent raises it."""
    with pytest.raises(TypeError, match=r"pass the class itself: create_app\(LoopEnv"):
        create_app(envs.LoopEnv())  # type: ignore[arg-type]


@pytest.mark.parametrize("factory", [envs.LoopEnv, partial(envs.LoopEnv), lambda: envs.LoopEnv()])
def test_classes_partials_and_functions_make_environments(factory: Any) -> None:
    """Any callable without arguments."""
    app = create_app(factory, envs.NoteAction, envs.NoteObservation, max_concurrent_envs=3)
    assert app.concurrent
    assert app.max_concurrent_envs == 3


def test_more_than_one_session_needs_a_class_that_says_it_can() -> None:
    """Also behind a function, which is called to find out."""

    class Single(envs.LoopEnv):
        SUPPORTS_CONCURRENT_SESSIONS = False

    for factory in (Single, lambda: Single()):
        with pytest.raises(ConcurrencyConfigurationError, match="SUPPORTS_CONCURRENT_SESSIONS"):
            create_app(factory, envs.NoteAction, envs.NoteObservation, max_concurrent_envs=2)
        assert not create_app(factory, envs.NoteAction, envs.NoteObservation).concurrent


def test_the_limit_may_come_in_a_config_object_but_not_twice() -> None:
    """As the incumbent's ConcurrencyConfig."""
    config = SimpleNamespace(max_concurrent_envs=5)
    assert create_app(envs.LoopEnv, concurrency_config=config).max_concurrent_envs == 5
    with pytest.raises(ValueError, match="not both"):
        create_app(envs.LoopEnv, max_concurrent_envs=2, concurrency_config=config)


def test_gradio_is_accepted_and_said_to_be_unused(caplog: pytest.LogCaptureFixture) -> None:
    """Existing apps pass it."""
    with caplog.at_level(logging.INFO):
        create_app(envs.LoopEnv, gradio_builder=lambda: None)
    assert "gradio_builder is accepted for compatibility and not used" in caplog.text


@pytest.mark.parametrize("mode", ["production", "PRODUCTION", SimpleNamespace(value="production")])
def test_the_mode_may_be_a_word_or_an_enum_member(mode: Any) -> None:
    """Upper case too."""
    assert create_app(envs.LoopEnv, mode=mode).settings()["mode"] == "production"


def test_an_unknown_mode_is_refused() -> None:
    """With the words that there are."""
    with pytest.raises(ConfigurationError, match="expected mode 'simulation' or 'production', got 'x'"):
        create_app(envs.LoopEnv, mode="x")
