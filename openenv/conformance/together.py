"""What can only be told from the files and the code together.

In: a folder and its environment. Out: findings, through the group `TOGETHER`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from openenv.conformance.finding import ERROR, Group, Problem, SkippedCheck
from openenv.conformance.folder import Folder
from openenv.conformance.play import Subject

__all__ = ["TOGETHER", "Whole"]


@dataclass(frozen=True, slots=True)
class Whole:
    """A folder and the environment that its app serves."""

    folder: Folder
    subject: Subject


TOGETHER: Group[Whole] = Group()


@TOGETHER.check("image-capacity", ERROR, "an image that asks for no more sessions than the class can do")
def the_image_asks_for_no_more_than_the_class_can(whole: Whole) -> Iterator[Problem]:
    """A server refuses to start otherwise."""
    dockerfile = whole.folder.dockerfile
    if dockerfile is None:
        raise SkippedCheck("there is no Dockerfile")
    cls = whole.subject.cls
    if getattr(cls, "SUPPORTS_CONCURRENT_SESSIONS", False):
        return
    for instruction, name, value in dockerfile.variables():
        if name == "MAX_CONCURRENT_ENVS" and value.isdigit() and int(value) > 1:
            yield Problem(
                dockerfile.where(instruction),
                f"MAX_CONCURRENT_ENVS={value} for {cls.__name__}, which is not concurrent",
                "set SUPPORTS_CONCURRENT_SESSIONS = True on the class if its objects share nothing, "
                "or leave the variable out",
            )
