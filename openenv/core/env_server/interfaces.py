"""The contract with authors, under the path that existing environments import it from."""

import sys
from typing import TYPE_CHECKING, Any, Protocol

from openenv.core.env_server.types import Action, EnvironmentMetadata, Observation, State
from openenv.environment import ActT, Environment, ObsT, StateT, TaskProvider, Transform

if TYPE_CHECKING or sys.version_info >= (3, 12):
    from typing import TypedDict
else:
    try:
        # pydantic, which brings it along, takes no other as the type of a field.
        from typing_extensions import TypedDict
    except ImportError:
        from typing import TypedDict

__all__ = [
    "ActT",
    "Action",
    "Environment",
    "EnvironmentMetadata",
    "Message",
    "ModelTokenizer",
    "ObsT",
    "Observation",
    "State",
    "StateT",
    "TaskProvider",
    "Transform",
]


class Message(TypedDict):
    """One message of a conversation."""

    role: str
    content: str


class ModelTokenizer(Protocol):
    """A tokenizer with a chat template, such as those of Hugging Face's transformers."""

    def apply_chat_template(
        self,
        conversation: list[Message],
        tokenize: bool = True,
        return_tensors: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """The conversation as the model wants it: token ids, or a text where `tokenize` is False."""

    def decode(self, token_ids: Any, skip_special_tokens: bool = False, **kwargs: Any) -> str:
        """The text of token ids."""
