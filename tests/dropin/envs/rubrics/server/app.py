from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field

from openenv.core.rubrics import Gate, Rubric, TrajectoryRubric, WeightedSum
from openenv.core.rubrics.trajectory import ExponentialDiscountingTrajectoryRubric


class TextAction(Action):
    text: str = ""


class TextObservation(Observation):
    text: str = ""
    scores: Dict[str, Optional[float]] = Field(default_factory=dict)


class Short(Rubric):
    def forward(self, action, observation) -> float:
        return 1.0 if len(action.text) < 4 else 0.25


class Polite(Rubric):
    def forward(self, action, observation) -> float:
        return 1.0 if "please" in action.text else 0.0


class Ends(ExponentialDiscountingTrajectoryRubric):
    def score_trajectory(self, trajectory) -> float:
        return float(len(trajectory))


class Whole(Rubric):
    def __init__(self):
        super().__init__()
        self.both = WeightedSum([Short(), Polite()], weights=[0.75, 0.25])
        self.gate = Gate(Short(), threshold=0.5)
        self.ends = Ends(gamma=0.5)

    def forward(self, action, observation) -> float:
        return (
            self.both(action, observation) + self.gate(action, observation) + self.ends(action, observation)
        )

    def reset(self):
        self.ends.reset()


class TextEnvironment(Environment):
    def __init__(self):
        super().__init__(rubric=Whole())
        self._state = State()

    def reset(self, seed=None, episode_id=None, **kwargs):
        self._reset_rubric()
        self._state = State(episode_id=episode_id)
        return TextObservation(text="go")

    def step(self, action, timeout_s=None, **kwargs):
        self._state.step_count += 1
        observation = TextObservation(text=action.text, done=action.text == "end")
        observation.reward = self._apply_rubric(action, observation)
        observation.scores = {name: part.last_score for name, part in self.rubric.named_rubrics()}
        return observation

    @property
    def state(self):
        return self._state


app = create_app(TextEnvironment, TextAction, TextObservation, env_name="rubrics")
