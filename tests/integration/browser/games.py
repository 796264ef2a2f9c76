"""Environments for the page's tests: a game with everything that can be shown, and an action of every type.

Serve one with `openenv serve tests.integration.browser.games:Noughts`.
"""

from __future__ import annotations

import html
from datetime import date, datetime
from enum import Enum
from typing import Any, Literal
from uuid import UUID

from openenv import Action, Environment, MCPEnvironment, Observation, State, create_app, field, tool
from openenv.models import EnvironmentMetadata, Model

RED, BLUE, DIM, PLAIN = "\x1b[1;31m", "\x1b[1;34m", "\x1b[90m", "\x1b[0m"


class Square(Model):
    """A square of the board."""

    row: int = field(ge=0, le=2, description="From the top")
    column: int = field(ge=0, le=2, description="From the left")


class Mark(Action):
    """Put your mark on a square, or give up."""

    square: Square
    mood: Literal["calm", "bold", "angry"] = "calm"
    give_up: bool = False


class Position(Observation):
    """The board after both have moved."""

    board: str = ""
    picture: list[list[list[int]]] = field(default_factory=list)
    free: list[list[int]] = field(default_factory=list)
    moves: list[dict[str, Any]] = field(default_factory=list)
    said: str = ""


class Noughts(Environment[Mark, Position, State]):
    """Noughts and crosses against a machine that takes the first free square."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self._state = State()
        self._begin()

    def _begin(self) -> None:
        self.cells = [[" "] * 3 for _ in range(3)]
        self.moves: list[dict[str, Any]] = []

    def get_metadata(self) -> EnvironmentMetadata:
        """With a README that tries to be HTML."""
        readme = (
            "---\ntitle: Noughts\n---\n# Noughts\n\nA *small* game with **two** players, see "
            "[the rules](https://example.org/rules) or [not](javascript:alert(1)).\n\n- nine squares\n"
            "- three in a row\n  - or a column\n\n"
            "| move | reward |\n|---|---|\n| win | 1 |\n| lose | -1 |\n\n"
            "```python\nresult = client.step({})\n```\n\n<script>window.hacked = true</script>\n"
        )
        return EnvironmentMetadata(
            name="Noughts", description="Noughts and crosses", version="1.2.0", readme_content=readme
        )

    def reset(
        self, seed: int | None = None, first: Literal["you", "machine"] = "you", **options: Any
    ) -> Position:
        """Begin with an empty board, or with one nought on it."""
        self._state = State(episode_id=str(seed), step_count=0)
        self._begin()
        if first == "machine":
            self._answer()
        return self._position("Your move." if first == "you" else "I have begun.", None)

    def step(self, action: Mark) -> Position:
        """Both move; +1 for a win, -1 for a loss, 0.1 for going on."""
        self._state.step_count += 1
        row, column = action.square.row, action.square.column
        if action.give_up:
            return self._position("You gave up.", -1.0, done=True)
        if self.cells[row][column] != " ":
            raise ValueError(f"the square {row}, {column} is taken")
        self._put("X", row, column)
        if self._has_won("X"):
            return self._position(f"You win, {action.mood} as you are.", 1.0, done=True)
        if not self._free():
            return self._position("A draw.", 0.0, done=True)
        self._answer()
        if self._has_won("O"):
            return self._position("I win.", -1.0, done=True)
        return self._position("Your move.", 0.1)

    @property
    def state(self) -> State:
        """Steps so far."""
        return self._state

    def _put(self, mark: str, row: int, column: int) -> None:
        self.cells[row][column] = mark
        self.moves.append({"player": mark, "row": row, "column": column})

    def _answer(self) -> None:
        row, column = self._free()[0]
        self._put("O", row, column)

    def _free(self) -> list[list[int]]:
        return [[row, column] for row in range(3) for column in range(3) if self.cells[row][column] == " "]

    def _has_won(self, mark: str) -> bool:
        lines = [
            *self.cells,
            *zip(*self.cells, strict=True),
            [self.cells[i][i] for i in range(3)],
            [self.cells[i][2 - i] for i in range(3)],
        ]
        return any(all(cell == mark for cell in line) for line in lines)

    def _position(self, said: str, reward: float | None, done: bool = False) -> Position:
        colour = {"X": f"{RED}X{PLAIN}", "O": f"{BLUE}O{PLAIN}", " ": f"{DIM}.{PLAIN}"}
        board = "\n".join(" " + " │ ".join(colour[cell] for cell in row) for row in self.cells)
        pixel = {"X": [200, 40, 30], "O": [30, 80, 200], " ": [235, 235, 235]}
        picture = [
            [
                [120, 120, 120]
                if y % 8 == 0 or x % 8 == 0
                else pixel[self.cells[min(y // 8, 2)][min(x // 8, 2)]]
                for x in range(25)
            ]
            for y in range(25)
        ]
        return Position(
            board=board,
            picture=picture,
            free=self._free(),
            moves=list(self.moves),
            said=said,
            reward=reward,
            done=done,
        )


class DrawnNoughts(Noughts):
    """The same with a drawing and buttons of its own."""

    def render_web(self, observation: dict[str, Any]) -> str:
        """The moves as HTML, with a script that must not run and a picture that must not load."""
        moves = "".join(
            f"<li style='color:teal'>{html.escape(str(move))}</li>" for move in observation["moves"]
        )
        return (
            f"<h3 style='margin:0'>Drawn: {html.escape(observation['said'])}</h3><ol id='moves'>{moves}</ol>"
            "<script>parent.postMessage({hacked: true}, '*')</script>"
            "<img src='https://example.org/x.png' onerror='parent.document.title = \"hacked\"'>"
        )

    def web_actions(self, observation: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """A button for each free square."""
        if observation["done"]:
            return []
        return [
            (f"{row},{column}", {"square": {"row": row, "column": column}})
            for row, column in observation["free"]
        ]


class Colour(Enum):
    """More than fit side by side."""

    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    GREEN = "green"
    BLUE = "blue"
    INDIGO = "indigo"
    VIOLET = "violet"


class Move(Model):
    """Go somewhere."""

    kind: Literal["move"] = "move"
    by: tuple[int, int]


class Say(Model):
    """Say something."""

    kind: Literal["say"] = "say"
    text: str


class Tree(Model):
    """A tree of words."""

    word: str
    branches: list[Tree] = field(default_factory=list)


class Everything(Action):
    """One field of every type that a schema can say."""

    number: int = field(ge=0, le=10)
    ratio: float = field(gt=0)
    colour: Colour
    size: Literal["s", "m", "l"] = "m"
    sure: bool
    constant: Literal["v1"] = "v1"
    code: str = ""
    name: str = field(default="nobody", max_length=20)
    maybe: int | None = None
    either: int | str = 3
    deed: Move | Say = field(default_factory=lambda: Say(text="hm"))
    pair: tuple[int, str] = (1, "one")
    words: list[str] = field(default_factory=list)
    grid: list[list[float]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    anything: Any = None
    at: datetime | None = None
    day: date | None = None
    blob: bytes = b""
    key: UUID | None = None
    tree: Tree | None = None


class Seen(Observation):
    """What arrived, as the environment saw it."""

    seen: str = ""
    picture: str = ""


PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJ"
    "RU5ErkJggg=="
)


class Mirror(Environment[Everything, Seen, State]):
    """Says what it was given."""

    def reset(self, seed: int | None = None, level: int = 1, tags: list[str] = ["a"]) -> Seen:  # noqa: B006
        """Say with what."""
        return Seen(seen=repr((seed, level, tags)), picture=PIXEL)

    def step(self, action: Everything) -> Seen:
        """Say what."""
        return Seen(seen=repr(action), reward=float(action.number))

    @property
    def state(self) -> State:
        """Nothing of interest."""
        return State()


class Shop(MCPEnvironment):
    """Its actions are calls of its tools."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self) -> Observation:
        """Open the shop."""
        return Observation()

    @property
    def state(self) -> State:
        """Nothing of interest."""
        return State()

    @tool
    def price(self, item: Literal["apple", "pear"], pieces: int = 1) -> float:
        """What something costs.

        Args:
            item: What it is.
        """
        return {"apple": 0.5, "pear": 0.75}[item] * pieces

    @tool
    def opening_hours(self) -> str:
        """When somebody is there."""
        return "8 to 18"


class Broken(Mirror):
    """Cannot be made."""

    def __init__(self) -> None:
        raise OSError("no display")


noughts = create_app(Noughts)
"""For other people's ASGI servers."""
