"""The load generator's arithmetic, texts and curves, without a server."""

from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import pytest
from benchmark.chart import draw
from benchmark.load import Batch, Summary, largest_carried, main, quantile, raise_open_files, table


def batch(n_sessions: int, n_good: int) -> Summary:
    """A batch in which so many sessions succeeded."""
    made = Batch(n_sessions)
    for number in range(n_good):
        made.connects.append(0.01)
        made.resets.append(0.001)
        made.steps.append(1.0)
        made.totals.append(1.0 + number / 1000)
        made.ends.append(2.0)
        made.workers.add(f"host:{number % 2}")
    if n_good < n_sessions:
        made.failures["ConnectError: refused"] = n_sessions - n_good
    return made.summary()


def test_a_quantile_is_a_value_that_was_measured() -> None:
    """The nearest rank, without interpolation."""
    values = [float(number) for number in range(1, 101)]
    assert quantile(values, 0.5) == 50.0
    assert quantile(values, 0.99) == 99.0
    assert quantile([3.0], 0.99) == 3.0
    assert quantile([], 0.5) is None


def test_a_batch_counts_as_carried_from_95_percent_on() -> None:
    """A larger one that failed does not count."""
    assert largest_carried([batch(100, 100), batch(200, 190), batch(400, 379)]) == 200
    assert largest_carried([batch(10, 9)]) is None


def test_the_table_has_a_row_for_each_batch_and_says_why_some_failed() -> None:
    """Percentages, times with units, thousands separated."""
    text = table([batch(10, 10), batch(2048, 2000), batch(4096, 0)])
    assert "|       10 |  100.0% |     10.0 ms |    1.0 ms |  1.000 s |" in text
    assert "|    4,096 |    0.0% |           - |" in text
    assert "largest batch with at least 95% success: 2,048" in text
    assert "serving processes seen: 2" in text
    assert "4,096 sessions, failed 4,096 times: ConnectError: refused" in text


def test_the_curves_are_a_drawing_that_can_be_read() -> None:
    """Well-formed, with a point for each batch that has a value, whatever the title."""
    rows = [asdict(batch(n, n)) for n in (32, 512)] + [asdict(batch(2048, 0))]
    drawing = ElementTree.fromstring(draw(rows, "a < b & c"))
    space = "{http://www.w3.org/2000/svg}"
    circles = drawing.findall(f".//{space}circle")
    assert len(circles) == 3 + 5 * 2 + 3
    texts = [text.text for text in drawing.iter(f"{space}text")]
    assert "a < b & c" in texts
    assert "2,048" in texts


def test_one_batch_can_be_drawn_as_well() -> None:
    """A logarithmic axis of one value has no length."""
    assert "nan" not in draw([asdict(batch(32, 32))], "one").lower()


def test_too_few_open_files_are_reported_before_anything_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the number that is needed and where it is set."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 1024))
    with pytest.raises(
        SystemExit, match=r"need 4,160 open files.*may have 1,024.*ulimit -Hn 4160.*at most 960"
    ):
        raise_open_files(4096)


def test_a_plot_of_another_kind_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    """Only SVG is drawn."""
    with pytest.raises(SystemExit, match=r"name a file that ends in \.svg"):
        main(["--plot", str(tmp_path / "load.png")])


@pytest.mark.parametrize("arguments", [["--sessions", "0"], ["--sessions", "many"], ["--wait", "-1"]])
def test_numbers_that_mean_nothing_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """By the parser, with its usage."""
    with pytest.raises(SystemExit):
        main(arguments)
    assert f"argument {arguments[0]}" in capsys.readouterr().err
