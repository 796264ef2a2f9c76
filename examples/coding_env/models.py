"""What goes into the coding environment and what comes out."""

from openenv import Action, Observation, State, field


class CodeAction(Action):
    """Python to run in the session."""

    code: str = field(description="Python code; it sees the variables of earlier steps", max_length=1_000_000)


class CodeObservation(Observation):
    """What the code wrote, how it ended and what its last line was worth."""

    stdout: str = field(default="", description="Standard output")
    stderr: str = field(default="", description="Standard error, with the traceback of an exception")
    exit_code: int = field(
        default=0,
        description="0: ran to its end; 1: exception; 124: time limit; 128 + n: ended by signal n; "
        "else what it gave to sys.exit",
    )
    result: str | None = field(default=None, description="repr() of the last expression")
    output_cut: bool = field(default=False, description="Whether stdout, stderr or result were cut")
    timed_out: bool = field(default=False, description="Whether the time limit ended the code")
    restarted: bool = field(
        default=False, description="Whether the interpreter was lost, and its variables with it"
    )


class CodeState(State):
    """Where the session stands."""

    last_exit_code: int | None = field(default=None, description="Exit code of the last step")
    restarts: int = field(default=0, ge=0, description="Interpreters lost in this episode")
