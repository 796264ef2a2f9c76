"""What goes into the benchmark environment and what comes out."""

from openenv import Action, Observation, State, field

MAX_WAIT_S = 3600.0
MAX_CPU_S = 60.0
MAX_PAYLOAD_BYTES = 1024 * 1024


class BenchmarkAction(Action):
    """What a step is to cost. It waits first, then computes, then answers."""

    wait_s: float = field(default=0.0, ge=0, le=MAX_WAIT_S, description="Seconds to wait, computing nothing")
    cpu_s: float = field(default=0.0, ge=0, le=MAX_CPU_S, description="Seconds of one processor to burn")
    payload_bytes: int = field(
        default=0, ge=0, le=MAX_PAYLOAD_BYTES, description="Bytes of text to put into the observation"
    )


class BenchmarkObservation(Observation):
    """Who answered, and what the step really cost."""

    host: str = field(default="", description="Host name of the machine or container that serves")
    pid: int = field(default=0, description="Process that serves this session")
    worker: str = field(default="", description="host:pid, one name for each serving process of a cluster")
    session_id: str = field(default="", description="This session's own id, new with every connection")
    waited_s: float = field(default=0.0, description="Seconds that the wait really took")
    cpu_used_s: float = field(default=0.0, description="Seconds of processor time really burnt")
    took_s: float = field(default=0.0, description="Seconds of the whole step as the environment saw it")
    payload: str = field(default="", description="As many bytes as were asked for")


class BenchmarkState(State):
    """Where the episode stands, and who serves it."""

    session_id: str = field(default="", description="This session's own id")
    worker: str = field(default="", description="host:pid of the serving process")
    waited_s: float = field(default=0.0, description="Seconds waited in this episode")
    cpu_used_s: float = field(default=0.0, description="Seconds of processor time burnt in this episode")
