"""Names of images, as Docker takes them."""

from __future__ import annotations

import pytest

from openenv.cli.engine import check_image, image_name, registry_of
from openenv.errors import ConfigurationError


@pytest.mark.parametrize(
    "name",
    [
        "my-env",
        "my_env:1.0",
        "me/my__env:latest",
        "localhost/x",
        "localhost:5000/a/b.c:V-1",
        "GHCR.io/me/x",
        "registry:5000/x",
        "[::1]:5000/x",
        f"x@sha256:{'0' * 64}",
    ],
)
def test_names_that_docker_takes(name: str) -> None:
    """With a registry, a port, a tag and a digest."""
    assert check_image(name, "--tag") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "BAD TAG",
        "Upper/x:1",
        "ghcr.io/ME/x",
        "x:",
        "x:a b",
        "-x",
        "a//b",
        "a/",
        "http://x/y",
        "x:-1",
        "a..b",
    ],
)
def test_names_that_docker_refuses_are_refused_before_it_is_asked(name: str) -> None:
    """In one line that says where the name is from."""
    with pytest.raises(ConfigurationError, match="expected the name of an image as --tag, got"):
        check_image(name, "--tag")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("my_env", "my_env"),
        ("My Env!", "my-env"),
        ("a.-b", "a-b"),
        ("a__b", "a__b"),
        ("a___b", "a-b"),
        ("ünï", "n"),
        ("...", ""),
    ],
)
def test_a_name_is_made_one_of_an_image(name: str, expected: str) -> None:
    """As near as possible; what comes out is taken, unless it is nothing."""
    assert image_name(name) == expected
    assert not expected or check_image(expected, "the name")


def test_the_registry_is_what_has_a_dot_or_a_port() -> None:
    """Docker's own is not named."""
    assert [registry_of(tag) for tag in ("ghcr.io/a/b", "h:5000/b", "a/b", "b:1.0")] == [
        *("ghcr.io", "h:5000", "", "")
    ]
