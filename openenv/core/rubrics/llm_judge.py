"""`LLMJudge`, under the path that existing environments import it from."""

from openenv.rubrics import LLMJudge

__all__ = ["LLMJudge"]
