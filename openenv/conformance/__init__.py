"""The contract as checks: on a folder's files, on an environment in this process, on a running server.

`openenv validate` makes them all; an author's own tests use `assert_conformant`, or inherit from
`ConformanceTests`.
"""

from openenv.conformance.environment import ConformanceTests, assert_conformant, check_environment
from openenv.conformance.finding import Finding, Report
from openenv.conformance.server import check_url
from openenv.conformance.static import check_folder

__all__ = [
    "ConformanceTests",
    "Finding",
    "Report",
    "assert_conformant",
    "check_environment",
    "check_folder",
    "check_url",
]
