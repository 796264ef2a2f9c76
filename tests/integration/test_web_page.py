"""`/web` in a real Chromium: episodes by form and by keyboard, what goes wrong, and what never may happen.

All scenarios are played once, by `browser/playground.mjs`; each test looks at what one of them saw.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from statistics import median
from threading import Event
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

from openenv.app.routes.assets import read
from tests.support.browser import chromium, run_script
from tests.support.peers import ROOT, PeerMissingError, install
from tests.support.server import Server, serve, serve_uvicorn

GAMES = "tests.integration.browser.games"
WEIGHT_BYTES = 60 * 1024
FIRST_PAINT_MS = 300.0
"""Of the page, in the best of some loads, since what else the machine does only adds; on one where a page of
one line takes long as well, that and `FURTHER_PAINT_MS`, or three times that."""
FURTHER_PAINT_MS = 150.0

T = TypeVar("T")

# (scenario, label, target, environment variables)
PLAN: list[tuple[str, str, str, dict[str, str]]] = [
    ("weight", "weight", "examples/echo_env", {}),
    ("form", "form", f"{GAMES}:Noughts", {}),
    ("types", "types", f"{GAMES}:Mirror", {}),
    ("keyboard", "keyboard", "examples/echo_env", {}),
    ("coding", "coding", "examples/coding_env", {"SANDBOX": "none"}),
    (
        *("textarena", "textarena", "examples/textarena_env"),
        {"TEXTARENA_ENV_ID": "TicTacToe-v0", "TEXTARENA_NUM_PLAYERS": "2"},
    ),
    ("tools", "tools", f"{GAMES}:Shop", {}),
    ("tabs", "tabs", f"{GAMES}:Noughts", {}),
    ("capacity", "capacity", f"{GAMES}:Mirror", {}),
    ("lost", "lost", f"{GAMES}:Noughts", {}),
    ("drained", "drained", f"{GAMES}:Noughts", {}),
    ("broken", "broken", f"{GAMES}:Broken", {}),
    ("drawn", "drawn", f"{GAMES}:DrawnNoughts", {}),
    ("prefix", "prefix", f"{GAMES}:Noughts", {}),
    ("token", "token", f"{GAMES}:DrawnNoughts", {"OPENENV_TOKEN": "s3cret+/~?"}),
    ("brief", "production", f"{GAMES}:Noughts", {"OPENENV_MODE": "production"}),
    ("brief", "asgi", f"{GAMES}:noughts", {}),
]


def textarena() -> Path | None:
    """An interpreter with TextArena; None where it cannot be had, which is a failure under CI."""
    try:
        return install("textarena")
    except PeerMissingError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        return None


@contextmanager
def together(contexts: Sequence[AbstractContextManager[T]]) -> Iterator[list[T]]:
    """Enter several contexts at once and leave them at once.

    The thread that entered one lives until it is left: a server ends with the thread that started it.
    """
    leave = Event()

    def hold(context: AbstractContextManager[T], entered: Future[T]) -> None:
        try:
            with context as value:
                entered.set_result(value)
                leave.wait()
        except BaseException as error:
            if entered.done():
                raise
            entered.set_exception(error)

    with ThreadPoolExecutor(len(contexts)) as pool:
        futures: list[Future[T]] = [Future() for _ in contexts]
        held = [pool.submit(hold, context, each) for context, each in zip(contexts, futures, strict=True)]
        try:
            yield [each.result() for each in futures]
        finally:
            leave.set()
    for each in held:
        each.result()


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What was seen, by scenario; the servers are still there."""
    chromium()
    python = textarena()
    plan = [row for row in PLAN if row[0] != "textarena" or python is not None]
    # Those that nothing happens to are shared.
    own = ("capacity", "lost", "drained")
    keys = [(target, label if scenario in own or env else "") for scenario, label, target, env in plan]
    starts: dict[tuple[str, str], AbstractContextManager[Server]] = {}
    for key, (scenario, label, target, env) in zip(keys, plan, strict=True):
        if label == "asgi":
            starts[key] = serve_uvicorn(target)
        elif key not in starts:
            starts[key] = serve(target, env=env, python=python if scenario == "textarena" else None)
    # Screenshots are for people: OPENENV_SCREENSHOTS names a folder to keep them in.
    folder = Path(os.environ.get("OPENENV_SCREENSHOTS") or tmp_path_factory.mktemp("web"))
    with together(list(starts.values())) as servers:
        running = dict(zip(starts, servers, strict=True))
        given = [
            [scenario, running[key].url, running[key].process.pid, label]
            for key, (scenario, label, _, _) in zip(keys, plan, strict=True)
        ]
        seen = run_script("playground.mjs", folder, json.dumps(given))
        for _, url, _, label in given:
            seen[label]["url"] = url
        print("\nseconds:", {label: round(each["seconds"], 1) for label, each in seen.items()})
        yield seen


def saw(play: dict[str, Any], label: str) -> dict[str, Any]:
    """What a scenario saw; fails with the browser's words if it did not reach its end."""
    if label not in play:
        pytest.skip("TextArena cannot be installed here")
    seen: dict[str, Any] = play[label]
    assert "failure" not in seen, seen["failure"]
    return seen


def lines_of(download: dict[str, str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in download["text"].splitlines()]


def test_every_scenario_reaches_its_end(play: dict[str, Any]) -> None:
    """Nothing timed out, nothing could not be found."""
    assert {label: seen["failure"] for label, seen in play.items() if "failure" in seen} == {}


def test_an_episode_is_played_with_the_keyboard_alone(play: dict[str, Any]) -> None:
    """Tab and Enter, from Reset to the download; the focus can be seen."""
    seen = saw(play, "keyboard")
    assert seen["outline"] == "solid"
    assert [bubble.split("\n\n")[0] for bubble in seen["bubbles"][:3]] == [
        "Echo environment ready!",
        "Hello",
        "Hello",
    ]
    assert seen["bubbles"][-1].startswith("one\ntwo")
    assert "step_count\n3" in seen["state"]


def test_rewards_are_drawn_and_summed(play: dict[str, Any]) -> None:
    """A bar for each step, and the return so far."""
    seen = saw(play, "keyboard")
    assert seen["bars"] == 3
    assert seen["plot"] == "Reward over 3 steps; return 8.5"
    assert seen["total"] == "8.5"


@pytest.mark.parametrize("label", ["keyboard", "form", "coding", "textarena", "tools", "lost"])
def test_what_is_downloaded_is_what_was_played(play: dict[str, Any], label: str) -> None:
    """Each reset and step with its reply, exactly as they went over the wire, refused ones left out."""
    seen = saw(play, label)
    downloaded = lines_of(seen["download"])
    assert seen["download"]["name"].endswith("-episode.jsonl")
    replies = [text for text in seen["received"] if json.loads(text)["type"] == "observation"]
    assert [line["reply"] for line in downloaded] == [json.loads(text) for text in replies]
    sent = [json.loads(text) for text in seen["sent"]]
    asked = [message for message in sent if message["type"] in ("reset", "step")]
    assert all(line["request"] in asked for line in downloaded)
    # The numbers are those that came, to the last digit.
    assert all(text in seen["download"]["text"] for text in replies)


def test_markup_in_an_observation_stays_text(play: dict[str, Any]) -> None:
    """`<script>` and `<img onerror>` are shown as they are written."""
    seen = saw(play, "keyboard")
    assert any(bubble.startswith("<script>window.hacked = 1</script><img") for bubble in seen["bubbles"])
    assert seen["hacked"] == [None, 0]


def test_the_python_snippet_plays_the_same(play: dict[str, Any]) -> None:
    """Run as it is, it gets the rewards that the page got."""
    seen = saw(play, "keyboard")
    done = subprocess.run(
        [sys.executable, "-c", seen["python"]],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rewards = [line["reply"]["data"]["reward"] for line in lines_of(seen["download"])][1:]
    assert done.stdout.splitlines()[:3] == [f"{reward} False" for reward in rewards]


def test_the_curl_snippet_plays_the_same(play: dict[str, Any]) -> None:
    """Quotes and line breaks in an action survive the shell."""
    seen = saw(play, "keyboard")
    done = subprocess.run(
        ["sh", "-c", seen["curl"].replace("\ncurl", "\necho; curl")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "not found" in done.stderr:
        pytest.skip("curl is not installed")
    answers = [json.loads(line) for line in done.stdout.splitlines() if line]
    replies = [line["reply"]["data"]["observation"] for line in lines_of(seen["download"])]
    assert [answer["observation"] for answer in answers] == replies


def test_code_is_played_by_keyboard_and_by_form(play: dict[str, Any]) -> None:
    """Of several lines; what it wrote is shown, and the reward of each run drawn."""
    seen = saw(play, "coding")
    assert [json.loads(text)["data"]["code"] for text in seen["sent"] if '"step"' in text] == [
        "total = 0\nfor n in range(5):\n    total += n\nprint('total', total)",
        "print('<b>twice</b>', total * 2)\ntotal / 0",
    ]
    assert seen["drawn"][1].split() == ["total", "10", "exit", "code", "0"]
    assert seen["drawn"][2].startswith("<b>twice</b> 20\n")
    assert "ZeroDivisionError" in seen["drawn"][2]
    assert seen["bars"] == [False, True]
    assert seen["plot"] == "Reward over 2 steps; return 0"


def test_a_game_of_textarena_is_played(play: dict[str, Any]) -> None:
    """Noughts and crosses for two to its end, by keyboard and by button, with the board drawn."""
    seen = saw(play, "textarena")
    assert seen["mine"] == ["[0]", "[3]", "[1]", "[4]", "[2]"]
    assert seen["over"] == "Step 5: reward 1, return 1. The episode is over: Reset begins another."
    assert "Game over" in seen["drawn"]
    assert seen["plot"] == "Reward over 5 steps; return 1"


def test_tools_have_a_form_each(play: dict[str, Any]) -> None:
    """Of their arguments; those that there are after a reset."""
    seen = saw(play, "tools")
    assert seen["tools"] == ["price", "opening_hours", "list_tools"]
    assert seen["told"].startswith("What something costs.")
    sent = [json.loads(text) for text in seen["sent"]]
    assert [message["data"] for message in sent if message["type"] == "step"] == [
        {"type": "call_tool", "tool_name": "price", "arguments": {"item": "pear", "pieces": 3}},
        {"type": "call_tool", "tool_name": "opening_hours", "arguments": {}},
        {"type": "list_tools"},
    ]
    assert "2.25" in seen["shown"]
    assert seen["history"][1:3] == ['price(item: "pear", pieces: 3)', "opening_hours()"]


def test_a_game_is_played_by_its_form(play: dict[str, Any]) -> None:
    """Reset with parameters, a nested action, Enter, to the end of the episode."""
    seen = saw(play, "form")
    assert json.loads(seen["sent"][0]) == {"type": "reset", "data": {"seed": 7, "first": "machine"}}
    assert seen["over"] == "Step 2: reward -1, return -0.9. The episode is over: Reset begins another."
    assert seen["numbers"] == ["2", "-1", "-0.9"]
    assert seen["minus"] == 1
    assert seen["history"][2] == '#2\tsquare: {row: 2, column: 2}, mood: "bold"\t-1\t-0.9'


def test_an_earlier_step_can_be_looked_at(play: dict[str, Any]) -> None:
    """From the history, and back."""
    seen = saw(play, "form")
    assert seen["looked"] == ["step 1 · reward 0.1", 3]
    assert seen["latest"] == "step 2 · reward -1 · done"


def test_a_refused_action_is_explained_at_its_field(play: dict[str, Any]) -> None:
    """In words, marked for screen readers, with the focus on it; nothing was run."""
    refused = saw(play, "form")["refused"]
    assert "nothing was run" in refused["trouble"]
    assert refused["invalid"] == "true"
    assert refused["focused"]
    assert "Input should be less than or equal to 2" in refused["described"][1]


def test_an_environment_that_raises_is_quoted(play: dict[str, Any]) -> None:
    """With what can be done; the message goes away with the next success."""
    seen = saw(play, "form")
    assert "raised ValueError in step: the square 0, 0 is taken" in seen["raised"]
    assert "press Reset" in seen["raised"]
    assert seen["troubleAfter"] is False


def test_observations_are_shown_readably(play: dict[str, Any]) -> None:
    """A picture as a picture, a board in its colours, records as a table."""
    seen = saw(play, "form")
    assert seen["canvas"] == {
        "size": [25, 25],
        "centre": [200, 40, 30, 255],
        "first": [30, 80, 200, 255],
        "free": [235, 235, 235, 255],
    }
    assert seen["board"]["text"] == " O │ O │ .\n . │ X │ .\n . │ . │ ."
    assert seen["board"]["colours"] == ["var(--ansi-4)", "var(--ansi-4)", "var(--ansi-1)"]
    assert seen["table"].splitlines()[:2] == ["player\trow\tcolumn", "O\t0\t0"]


def test_form_and_json_are_kept_in_step(play: dict[str, Any]) -> None:
    """Either may be edited; what is not JSON is said."""
    seen = saw(play, "form")
    assert seen["rawOfForm"] == {"square": {"row": 1, "column": 1}}
    assert seen["formOfRaw"] == ["2", "2", True]
    assert seen["rawWrong"].startswith("This is not JSON")


def test_the_readme_is_rendered_and_harmless(play: dict[str, Any]) -> None:
    """Headings, lists, tables and links; no script, no `javascript:`."""
    readme = saw(play, "form")["readme"]
    assert readme["text"].startswith("Noughts\n\nA small game with two players, see the rules or not.")
    assert "move\treward" in readme["text"]
    assert "<script>window.hacked = true</script>" in readme["text"]
    assert readme["links"] == ["https://example.org/rules"]
    assert readme["scripts"] == 0


ACTION = {
    "number": 4,
    "ratio": 0.5,
    "colour": "indigo",
    "size": "l",
    "sure": True,
    "constant": "v1",
    "code": "a = 1\nb = 2",
    "name": "Ada",
    "maybe": 9,
    "either": "text",
    "deed": {"kind": "move", "by": [3, -4]},
    "pair": [5, "one"],
    "words": ["x", "z"],
    "grid": [[2.5]],
    "counts": {"apples": 12},
    "anything": {"a": [1, None]},
    "at": "2026-11-22T10:30:15",
    "day": "2026-11-22",
    "blob": "AP9oaQ==",
    "key": "123e4567-e89b-12d3-a456-426614174000",
    "tree": {"word": "oak", "branches": [{"word": "twig"}]},
}


def test_every_type_has_its_field(play: dict[str, Any]) -> None:
    """What was filled in arrives as the environment's own types."""
    seen = saw(play, "types")
    assert "(None, 1, ['a'])" in seen["begun"]
    assert seen["raw"] == ACTION
    for part in (
        "colour=<Colour.INDIGO: 'indigo'>",
        "deed=Move(kind='move', by=(3, -4))",
        "blob=b'\\x00\\xffhi'",
        "at=datetime.datetime(2026, 11, 22, 10, 30, 15)",
        "tree=Tree(word='oak', branches=[Tree(word='twig', branches=[])])",
    ):
        assert part in seen["seen"]


def test_json_of_every_type_fills_the_form(play: dict[str, Any]) -> None:
    """And comes out of it again as it went in."""
    assert saw(play, "types")["rawAgain"] == ACTION


def test_what_cannot_be_read_is_not_sent(play: dict[str, Any]) -> None:
    """It is said at its field instead; faults deep in the action find theirs."""
    seen = saw(play, "types")
    assert seen["unread"] == {"text": "This is not JSON. A text needs double quotes around it.", "sent": 0}
    assert seen["faults"] == ["Input should be greater than 0", "Input should be a valid number"]


def test_two_tabs_do_not_disturb_one_another(play: dict[str, Any]) -> None:
    """Each has a session, and a board, of its own."""
    boards = saw(play, "tabs")["boards"]
    assert boards[0] == " O │ O │ .\n . │ X │ .\n X │ . │ ."
    assert boards[1] == " O │ . │ .\n . │ . │ .\n . │ . │ X"


def test_a_full_server_is_explained(play: dict[str, Any]) -> None:
    """With the numbers and the way out, which works as soon as somebody leaves."""
    seen = saw(play, "capacity")
    assert "full" in seen["full"]
    assert "1 of 1" in seen["full"]
    assert "MAX_CONCURRENT_ENVS" in seen["full"]
    assert seen["pill"] == "no session"
    assert seen["fullAfter"] is False


def test_a_killed_server_is_explained(play: dict[str, Any]) -> None:
    """What was played can still be downloaded; Step is out of reach."""
    seen = saw(play, "lost")
    assert "connection is lost" in seen["lost"]
    assert "can be downloaded" in seen["lost"]
    assert seen["step"] is True
    assert "cannot be reached" in seen["unreachable"]


def test_a_server_that_shuts_down_says_so(play: dict[str, Any]) -> None:
    """1001 is not a lost connection."""
    assert "shutting down" in saw(play, "drained")["drained"]


def test_an_environment_that_cannot_be_made_is_explained(play: dict[str, Any]) -> None:
    """With the exception's name; the log has the rest."""
    assert "Broken raised OSError" in saw(play, "broken")["broken"]


def test_an_authors_html_is_shown_where_it_can_do_nothing(play: dict[str, Any]) -> None:
    """With its styles; without scripts, handlers, network, or the page's origin."""
    seen = saw(play, "drawn")
    assert seen["frame"]["text"].startswith("Drawn: Your move.")
    assert seen["frame"]["colour"] == "rgb(0, 128, 128)"
    assert seen["frame"]["origin"] == "null"
    assert seen["frame"]["sandbox"] == "allow-scripts"
    assert seen["frame"]["fields"] is False
    assert seen["title"] == "Noughts · playground"
    assert set(seen["blocked"]) == {"https://example.org/x.png"}
    assert all("violates the following Content Security Policy" in text for text in seen["problems"])
    assert [json.loads(text)["type"] for text in seen["sent"]] == ["reset", "web", "step", "web"]


def test_an_authors_buttons_step(play: dict[str, Any]) -> None:
    """And are offered anew after each step."""
    seen = saw(play, "drawn")
    assert json.loads(seen["sent"][2])["data"] == {"square": {"row": 1, "column": 1}}
    assert seen["offered"] == ["0,1", "0,2", "1,0", "1,2", "2,0", "2,1", "2,2"]


def test_without_a_drawing_the_server_is_asked_once(play: dict[str, Any]) -> None:
    """An environment that draws nothing costs one question for each page, not one for each step."""
    kinds = [json.loads(text)["type"] for text in saw(play, "keyboard")["sent"]]
    assert kinds == ["reset", "web", "step", "step", "step", "state"]


def test_the_root_leads_to_the_page_with_its_query(play: dict[str, Any]) -> None:
    """As a Space's frame asks for it."""
    seen = saw(play, "drawn")
    assert seen["address"] == f"{seen['url']}/web?from=space"


def test_it_works_behind_a_prefix_in_a_frame_on_a_phone(play: dict[str, Any]) -> None:
    """Every address is relative, `/ws` included; nothing is wider than the screen."""
    seen = saw(play, "prefix")
    assert seen["origin"] + "/a/b/web" in seen["requests"]
    assert seen["origin"].replace("http", "ws") + "/a/b/ws" in seen["requests"]
    assert seen["wide"][0] <= seen["wide"][1]
    assert seen["wideWithSnippets"][0] <= seen["wideWithSnippets"][1]
    assert f'base_url="{seen["origin"]}/a/b"' in seen["python"]


def test_it_works_in_production_mode(play: dict[str, Any]) -> None:
    """Over the WebSocket alone; curl is not advised there."""
    assert "no /reset" in saw(play, "production")["curl"]


def test_a_token_is_asked_for_and_not_kept(play: dict[str, Any]) -> None:
    """It goes with requests and the WebSocket, and into no cookie or storage."""
    seen = saw(play, "token")
    assert "wants a token" in seen["asked"]
    assert seen["kept"] == ["", 0, 0]


def test_it_works_under_an_asgi_server(play: dict[str, Any]) -> None:
    """The same handlers, behind uvicorn."""
    assert "curl" in saw(play, "asgi")["curl"]


def test_no_request_leaves_the_origin(play: dict[str, Any]) -> None:
    """In no scenario, whatever README and author's HTML ask for."""
    for label, seen in play.items():
        home = urlsplit(seen.get("origin", seen["url"])).netloc
        others = [
            url
            for url in seen["requests"]
            if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).netloc != home
        ]
        assert others == [], label


def test_nothing_is_complained_about_in_the_console(play: dict[str, Any]) -> None:
    """No error, no refused policy, but for those that a scenario is about."""
    about_errors = {"drawn", "broken", "lost", "token"}
    found = {label: seen["problems"] for label, seen in play.items() if label not in about_errors}
    assert {label: problems for label, problems in found.items() if problems} == {}


def test_axe_finds_nothing(play: dict[str, Any]) -> None:
    """Empty, in play, in trouble, with every kind of field, light and dark."""
    found = {
        f"{label} {key}": seen[key]
        for label, seen in play.items()
        for key in seen
        if "violations" in key.lower()
    }
    assert len(found) >= 7
    assert {key: rules for key, rules in found.items() if rules} == {}


def test_the_page_is_light(play: dict[str, Any], record_property: Any) -> None:
    """At most 60 KB, uncompressed."""
    seen = saw(play, "weight")
    data = ("/web/about.json", "/schema", "/metadata")
    parts = {path: size for path, size in seen["parts"] if path not in data}
    frame = len(read("frame.html"))  # only asked for where the author draws
    weight = sum(parts.values()) + frame
    record_property("weight_bytes", weight)
    print(f"\n/web: {weight} bytes in {len(parts)} requests, {len(data)} requests for data")
    assert weight <= WEIGHT_BYTES, parts


def test_the_page_is_painted_soon(play: dict[str, Any], record_property: Any) -> None:
    """From its HTML alone: hardly later than a page of one line, in the same browser and the same run."""
    seen = saw(play, "weight")
    ours, bare = min(seen["paints"]), min(seen["bare"])
    middle = median(seen["paints"])
    record_property("first_paint_ms", middle)
    shown = [[round(each) for each in paints] for paints in (seen["paints"], seen["bare"])]
    print(
        f"\n/web: first painted after {middle:.0f} ms {shown[0]}, a bare page after {bare:.0f} ms {shown[1]}"
    )
    assert ours <= max(FIRST_PAINT_MS, bare + FURTHER_PAINT_MS, 3 * bare)


def test_the_pictures_of_the_readme_are_small() -> None:
    """Two screenshots, below 150 KB each."""
    pictures: list[Path] = sorted((ROOT / "examples" / "images").glob("*.png"))
    assert len(pictures) == 2
    assert all(picture.stat().st_size < 150_000 for picture in pictures)
