"""A conversation: messages as fields of models, a tokenizer, a check that raises what pydantic does not catch."""

from openenv.core.env_server import Action, State, create_app
from openenv.core.env_server.interfaces import Environment, Message, ModelTokenizer
from openenv.core.env_server.types import Observation
from openenv.core.env_server.web_interface import load_environment_metadata
from pydantic import BaseModel, Field, field_validator


class Letters:
    def apply_chat_template(self, conversation, tokenize=True, return_tensors=None, **kwargs):
        return [ord(letter) for message in conversation for letter in message["content"]]

    def decode(self, token_ids, skip_special_tokens=False, **kwargs):
        return "".join(chr(token) for token in token_ids)


class SayAction(Action):
    tokens: list[int] = Field(..., min_length=1)
    judged: str = ""

    @field_validator("tokens", mode="before")
    @classmethod
    def flat(cls, value):
        if not isinstance(value, list):
            raise TypeError("a list, please")
        return [token for part in value for token in (part if isinstance(part, list) else [part])]


class Verdict(BaseModel):
    score: float = Field(ge=0, le=1)


class TalkObservation(Observation):
    messages: list[Message] = Field(default_factory=list)
    tokens: list[int] = Field(default_factory=list)


class TalkState(State):
    history: list[Message] = Field(default_factory=list)


class TalkEnvironment(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, tokenizer: ModelTokenizer, opening: str):
        super().__init__()
        self.tokenizer = tokenizer
        self.opening = opening
        self._state = TalkState()

    def reset(self, fen: str = None) -> TalkObservation:
        first: Message = {"role": "system", "content": fen or self.opening}
        self._state = TalkState(episode_id="talk", history=[first])
        return self._seen()

    def step(self, action: SayAction) -> TalkObservation:
        said: Message = {"role": "assistant", "content": self.tokenizer.decode(action.tokens)}
        self._state.history.append(said)
        self._state.step_count += 1
        score = Verdict.model_validate_json(action.judged).score if action.judged else None
        return self._seen(score)

    def _seen(self, reward=None):
        history = self._state.history
        tokens = self.tokenizer.apply_chat_template(conversation=history)
        return TalkObservation(messages=list(history), tokens=tokens, reward=reward)

    @property
    def state(self) -> TalkState:
        return self._state


def make_talk():
    return TalkEnvironment(Letters(), "Hello.")


app = create_app(make_talk, SayAction, TalkObservation, env_name="conversation", state_cls=TalkState)

metadata = load_environment_metadata(make_talk(), "conversation")
for route in [route for route in app.routes if getattr(route, "path", None) == "/web"]:
    app.routes.remove(route)


@app.get("/web")
def page():
    return {"title": metadata.name, "about": metadata.description}
