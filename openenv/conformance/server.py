"""The contract on a running server: what it says over HTTP and over `/ws`, byte formats aside.

In: a base URL. Out: findings, through the group `SERVER`. Any server that speaks `wire.md` will do, the
incumbent's included; what that is known to do differently is no finding.

Limits: environments whose actions cannot be drawn from `/schema` need `actions`. At most `n_sessions`
sessions are open at once, so that a server that others use is not filled up.

Reference: ``wire.md`` sections 2, 4 and 7.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from openenv.client.address import Address
from openenv.client.blocking import BlockingNetwork
from openenv.client.channel import Channel, Options, fetch, open_channel
from openenv.codec import decode, encode
from openenv.conformance import play
from openenv.conformance.finding import ERROR, WARNING, Group, Problem, Report, SkippedCheck, shown
from openenv.conformance.fits import misfits
from openenv.conformance.sampler import NoSampleError, Sampler, misfitting
from openenv.errors import ClientError, ConfigurationError, InvalidJsonError
from openenv.protocol.http_client import Response

__all__ = ["check_url"]

_METADATA_KEYS = ("name", "description", "readme_content", "version", "author", "documentation_url")
_CAPACITY = "CAPACITY_REACHED"


class _Reply:
    """One reply on `/ws`, or why there was none.

    Attributes:
        type: Its `type`, "" where there is none.
        data: Its `data`.
        problem: Why it is no reply, or None.
    """

    def __init__(self, value: Any, problem: str | None = None) -> None:
        self.type = value.get("type", "") if isinstance(value, dict) else ""
        self.data: Any = value.get("data", {}) if isinstance(value, dict) else {}
        self.value = value
        self.problem = problem
        if problem is None and not isinstance(value, dict):
            self.problem = f"{shown(value)}, no object"

    @property
    def code(self) -> str | None:
        """The code of an error reply."""
        return self.data.get("code") if self.type == "error" and isinstance(self.data, dict) else None

    def __str__(self) -> str:
        return self.problem or shown(self.value)


class _Talk:
    """One session: messages out, replies in."""

    def __init__(self, channel: Channel, network: BlockingNetwork, timeout_s: float) -> None:
        self._channel = channel
        self._network = network
        self._timeout_s = timeout_s
        self.closed = False

    def say(self, text: str | bytes) -> _Reply:
        """Send one message as it is, and read what comes first."""
        message = text.encode() if isinstance(text, str) else text
        try:
            with self._network.lock:
                reply = self._channel.ask(message, self._timeout_s)
                assert isinstance(reply, bytes)
            return _Reply(decode(reply))
        except InvalidJsonError as error:
            return _Reply({}, f"what is no JSON: {error}")
        except ClientError as error:
            return _Reply({}, str(error))

    def ask(self, type: str, data: Any = None) -> _Reply:
        """Send a message of a type."""
        message: dict[str, Any] = {"type": type}
        if data is not None:
            message["data"] = data
        return self.say(encode(message))

    def reset(self, seed: int) -> _Reply:
        """Start an episode."""
        return self.ask("reset", {"seed": seed, "episode_id": f"conformance-{seed}"})

    def close(self) -> None:
        """End the session, and wait until the server has."""
        if not self.closed:
            self.closed = True
            self._network.drive(self._channel.close())


class Server:
    """A running server as a subject; its schemas and one episode are fetched once.

    Args:
        url: Base URL.
        options: How it is tried out.
    """

    def __init__(self, url: str, options: play.Options) -> None:
        try:
            self.address = Address.parse(url)
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
        self.options = options
        self.network_options = Options(
            connect_timeout_s=options.timeout_s, close_timeout_s=options.timeout_s, ping_interval_s=None
        )
        self._schemas: dict[str, Any] | None = None
        self._episode: list[tuple[str, _Reply]] | None = None

    def get(self, path: str) -> Response:
        """`GET`; raises ConnectError."""
        return self.request("GET", path)

    def request(self, method: str, path: str, body: bytes = b"") -> Response:
        """One HTTP request; raises ConnectError."""
        network = BlockingNetwork()
        return network.drive(
            fetch(network, self.address, method, path, body, self.network_options, self.options.timeout_s)
        )

    @contextmanager
    def talk(self) -> Iterator[_Talk]:
        """A session, opened now and closed afterwards; raises ConnectError."""
        talk = self.open()
        try:
            yield talk
        finally:
            talk.close()

    def open(self) -> _Talk:
        """A session, which the caller closes; raises ConnectError."""
        network = BlockingNetwork()
        channel = network.drive(open_channel(network, self.address, "", self.network_options))
        return _Talk(channel, network, self.options.timeout_s)

    @property
    def schemas(self) -> dict[str, Any]:
        """What `/schema` says; empty where it says nothing."""
        if self._schemas is None:
            try:
                value = _json(self.get("/schema"))
            except (ClientError, InvalidJsonError):
                value = None
            self._schemas = value if isinstance(value, dict) else {}
        return self._schemas

    def actions(self, n: int, seed: int | None = None) -> list[Any]:
        """Actions to play; SkippedCheck where none can be drawn."""
        if self.options.actions:
            return [self.options.actions[index % len(self.options.actions)] for index in range(n)]
        schema = self.schemas.get("action")
        if not isinstance(schema, dict):
            raise SkippedCheck("/schema describes no action; give actions")
        sampler = Sampler(schema, self.options.seed if seed is None else seed)
        try:
            return [sampler.sample() for _ in range(n)]
        except NoSampleError as error:
            raise SkippedCheck(f"{error}; give actions") from error

    def play(self, talk: _Talk, seed: int, actions: list[Any]) -> list[tuple[str, _Reply]]:
        """Reset and step until done or until the actions are used up: calls and replies."""
        replies = [(f"reset(seed={seed})", talk.reset(seed))]
        for action in actions if replies[0][1].type == "observation" else ():
            reply = talk.ask("step", action)
            replies.append((f"step({shown(action, 60)})", reply))
            if reply.problem or (reply.type == "observation" and _data(reply).get("done") is True):
                break
        return replies

    @property
    def episode(self) -> list[tuple[str, _Reply]]:
        """One episode, played once; SkippedCheck where there is none."""
        if self._episode is None:
            actions = self.actions(self.options.n_steps)
            with self.talk() as talk:
                self._episode = self.play(talk, self.options.seed, actions)
        if self._episode[0][1].type != "observation":
            raise SkippedCheck("reset gave no observation")
        return self._episode


def check_url(
    url: str,
    *,
    actions: Any = None,
    timeout_s: float = 10.0,
    seed: int = 7,
    n_steps: int = 6,
    n_sessions: int = 4,
    volatile: Any = (),
) -> Report:
    """Hold a running server against the contract.

    Args:
        url: Base URL, `http`, `https`, `ws` or `wss`.
        actions: Actions to play, as JSON values. Without them they are drawn from `/schema`.
        timeout_s: Seconds that one answer may take, > 0.
        seed: Given to `reset`, and decides which actions are drawn.
        n_steps: Steps of an episode, >= 1.
        n_sessions: Sessions to open at once, >= 2.
        volatile: Observation fields that may differ between equal episodes.

    Returns:
        The report; its `could_not_run` says so where the server cannot be reached or has no session left.

    Raises:
        ConfigurationError: It is no such URL.
    """
    options = play.Options(
        timeout_s=timeout_s,
        seed=seed,
        n_steps=n_steps,
        n_sessions=max(n_sessions, 2),
        actions=None if actions is None else tuple(actions),
        volatile=frozenset(volatile),
    )
    server = Server(url, options)
    report = Report(server.address.url(""))
    try:
        server.get("/health")
        with server.talk() as talk:
            first = talk.ask("state")
        if first.code == _CAPACITY:
            report.could_not_run = f"{report.target}: {_data(first).get('message')}; try again later"
            return report
        SERVER.run(server, report)
    except ClientError as error:
        report.could_not_run = str(error)
    return report


SERVER: Group[Server] = Group()


# -- HTTP -----------------------------------------------------------------------------------


@SERVER.check("health", ERROR, '200 and {"status":"healthy"}')
def health_is_answered(server: Server) -> Iterator[Problem]:
    """Containers, Spaces and clients wait for it."""
    response = server.get("/health")
    value = _value(response)
    if response.status != 200 or not isinstance(value, dict) or value.get("status") != "healthy":
        yield Problem("GET /health", _got(response), "answer as every server does")


@SERVER.check("schema", ERROR, "a JSON Schema of an object for action, observation and state")
def the_schemas_are_published(server: Server) -> Iterator[Problem]:
    """Clients and this command draw actions from them."""
    response = server.get("/schema")
    value = _value(response)
    if response.status != 200 or not isinstance(value, dict):
        yield Problem("GET /schema", _got(response), "serve it with create_app")
        return
    for key in ("action", "observation", "state"):
        schema = value.get(key)
        if not isinstance(schema, dict) or not _is_schema(schema):
            yield Problem(f"GET /schema, {key}", shown(schema), "give the class's JSON Schema")


@SERVER.check("metadata", ERROR, "a name, a description and four more keys")
def the_metadata_is_published(server: Server) -> Iterator[Problem]:
    """Pages and catalogues show them."""
    response = server.get("/metadata")
    value = _value(response)
    if response.status != 200 or not isinstance(value, dict):
        yield Problem("GET /metadata", _got(response), "let get_metadata() return an EnvironmentMetadata")
        return
    for key in ("name", "description"):
        if not isinstance(value.get(key), str) or not value[key]:
            yield Problem(f"GET /metadata, {key}", shown(value.get(key)), f"give it a {key}")
    missing = [key for key in _METADATA_KEYS if key not in value]
    if missing:
        yield Problem(
            "GET /metadata", f"none called {', '.join(missing)}", "give null instead", severity=WARNING
        )


@SERVER.check("openapi", WARNING, "an OpenAPI document with paths")
def the_interface_is_described(server: Server) -> Iterator[Problem]:
    """`/docs` shows it."""
    response = server.get("/openapi.json")
    value = _value(response)
    if response.status != 200 or not isinstance(value, dict) or not isinstance(value.get("paths"), dict):
        yield Problem("GET /openapi.json", _got(response), "serve it, for people with curl")


@SERVER.check("http-reset", ERROR, "200 with observation, reward and done")
def a_reset_over_http_is_answered(server: Server) -> Iterator[Problem]:
    """With and without a body."""
    for body in (b"", b'{"seed":7}'):
        response = _control(server, "POST", "/reset", body)
        yield from _observation_over_http(f"POST /reset {body.decode()}".rstrip(), response)


@SERVER.check("http-step", ERROR, "200 with observation, reward and done")
def a_step_over_http_is_answered(server: Server) -> Iterator[Problem]:
    """It acts on a fresh environment, which may well refuse a step before its reset with 500."""
    response = _control(server, "POST", "/step", encode({"action": server.actions(1)[0]}))
    if response.status != 500:
        yield from _observation_over_http("POST /step", response)


@SERVER.check("http-refusals", ERROR, "status 422 and a detail")
def bad_requests_are_refused(server: Server) -> Iterator[Problem]:
    """Whoever sent them is told what is wrong."""
    cases = (("/step", b"{}"), ("/step", b"{"), ("/step", b'{"action":[1]}'), ("/reset", b'{"seed":"abc"}'))
    for path, body in cases:
        response = _control(server, "POST", path, body)
        value = _value(response)
        if response.status != 422 or not isinstance(value, dict) or "detail" not in value:
            yield Problem(f"POST {path} {body.decode()}", _got(response), "refuse it as other servers do")


@SERVER.check("http-state", ERROR, "200 with episode_id and step_count")
def the_state_over_http_is_answered(server: Server) -> Iterator[Problem]:
    """Of a fresh environment."""
    response = _control(server, "GET", "/state")
    value = _value(response)
    if response.status == 500:
        yield Problem("GET /state", _got(response), "define the property state", severity=WARNING)
    elif response.status != 200 or not isinstance(value, dict):
        yield Problem("GET /state", _got(response), "answer with the state's fields")
    else:
        missing = [key for key in ("episode_id", "step_count") if key not in value]
        if missing:
            yield Problem(
                "GET /state", f"none called {' and '.join(missing)}", "derive the state from openenv.State"
            )


# -- a session ------------------------------------------------------------------------------


@SERVER.check("ws-reset", ERROR, "a reply of type observation")
def a_reset_is_answered(server: Server) -> Iterator[Problem]:
    """With and without data."""
    for data in (None, {}, {"seed": server.options.seed, "no_such_keyword": 1}):
        with server.talk() as talk:
            yield from _observation(f"reset {shown(data)}", talk.ask("reset", data))


@SERVER.check("ws-step", ERROR, "a reply of type observation")
def a_step_is_answered(server: Server) -> Iterator[Problem]:
    """A schema that allows what the server then refuses tells a policy nothing."""
    steps = server.episode[1:]
    failed = [(call, reply) for call, reply in steps if reply.type != "observation"]
    refused = [
        (call, reply) for call, reply in failed if reply.code in ("EXECUTION_ERROR", "VALIDATION_ERROR")
    ]
    for call, reply in failed:
        if reply.code in ("EXECUTION_ERROR", "VALIDATION_ERROR"):
            useless = len(refused) == len(steps)
            yield Problem(
                call,
                f"{reply}, in {len(refused)} of {len(steps)} steps",
                "give actions that it takes" if useless else "say in the schema what an action may hold",
                severity=ERROR if useless else WARNING,
            )
        else:
            yield Problem(call, str(reply), "answer every step")
        return
    for call, reply in steps:
        yield from _observation(call, reply)


@SERVER.check("ws-fits", ERROR, "replies that fit the schema of /schema")
def the_replies_fit_the_schema(server: Server) -> Iterator[Problem]:
    """Typed clients refuse them otherwise."""
    told: set[tuple[str, str]] = set()
    for index, (call, reply) in enumerate(server.episode):
        schema = server.schemas.get("observation")
        if index == 0:
            schema = server.schemas.get("reset_observation", schema)
        data = _data(reply)
        if reply.type != "observation" or not isinstance(schema, dict):
            continue
        observation = data.get("observation")
        if not isinstance(observation, dict):
            continue
        declared = schema.get("properties", {})
        whole = {**observation, **{key: data.get(key) for key in ("reward", "done") if key in declared}}
        # The version before 0.10 sends no metadata, and an absent default is nothing to complain of.
        whole = {key: value for key, value in whole.items() if key != "metadata" or key in declared}
        for where, expected, got in misfits(schema, whole):
            if (where, expected) not in told:
                told.add((where, expected))
                yield Problem(
                    f"{call}, {where or 'the observation'}",
                    f"{got}, which NaN is sent as" if got == "null" else got,
                    "send what the type says, or say in the type what is sent",
                    expected=expected,
                )


@SERVER.check("ws-reward-done", ERROR, "a number or null as reward, true or false as done")
def reward_and_done_are_what_they_should_be(server: Server) -> Iterator[Problem]:
    """Every trainer computes with them."""
    for call, reply in server.episode:
        if reply.type != "observation":
            continue
        data = _data(reply)
        reward, done = data.get("reward"), data.get("done")
        if reward is not None and (isinstance(reward, bool) or not isinstance(reward, int | float)):
            yield Problem(f"{call}, reward", shown(reward), "give a number, or null where there is none")
            return
        if not isinstance(done, bool):
            yield Problem(f"{call}, done", shown(done), "give true or false")
            return


@SERVER.check("ws-state", ERROR, "a reply of type state with episode_id and step_count")
def the_state_is_answered(server: Server) -> Iterator[Problem]:
    """Before and after a reset, and it counts."""
    actions = server.actions(2)
    with server.talk() as talk:
        talk.reset(server.options.seed)
        counts = [talk.ask("state")]
        n_steps = sum(talk.ask("step", action).type == "observation" for action in actions)
        counts.append(talk.ask("state"))
    for reply in counts:
        data = _data(reply)
        if reply.type != "state":
            undefined = reply.code == "EXECUTION_ERROR"
            yield Problem(
                "state", str(reply), "define the property state", severity=WARNING if undefined else None
            )
            return
        for key in ("episode_id", "step_count"):
            if key not in data:
                yield Problem(f"state, {key}", shown(data), "derive the state from openenv.State")
                return
    before, after = (_data(reply).get("step_count") for reply in counts)
    if before != 0 or not isinstance(after, int) or (n_steps and after <= 0):
        yield Problem(
            "state, step_count",
            f"{before} after reset and {after} after {n_steps} steps",
            "set it to 0 in reset and add 1 in step",
        )


@SERVER.check("ws-refusals", ERROR, "an error reply, and the session to go on")
def what_is_no_message_is_refused_and_the_session_goes_on(server: Server) -> Iterator[Problem]:
    """One mistake must not cost an episode."""
    cases = (
        ("{not json", "INVALID_JSON"),
        ("", "INVALID_JSON"),
        ('{"type":"no_such_type"}', "UNKNOWN_TYPE"),
        ('{"data":{}}', "UNKNOWN_TYPE"),
        ('{"type":"reset","data":[]}', "VALIDATION_ERROR"),
        ('{"type":"step"}', "VALIDATION_ERROR"),
        ('{"type":"state","no_such_key":1}', "VALIDATION_ERROR"),
    )
    for text, code in cases:
        with server.talk() as talk:
            talk.reset(server.options.seed)
            reply = talk.say(text)
            after = talk.reset(server.options.seed)
        where = f"message {text or 'without text'}"
        if reply.code != code:
            yield Problem(where, str(reply), f"reply with {code}", expected=f"an error reply with {code}")
        elif not isinstance(_data(reply).get("message"), str):
            yield Problem(f"{where}, message", str(reply), "say what is wrong", expected="a text")
        if after.type != "observation":
            yield Problem(
                f"reset after {where}", str(after), "keep the session", expected="the session to go on"
            )


@SERVER.check("ws-actions-refused", ERROR, "VALIDATION_ERROR with errors, and the session to go on")
def an_action_that_does_not_fit_is_refused(server: Server) -> Iterator[Problem]:
    """A policy that writes nonsense loses a step, not its episode."""
    schema = server.schemas.get("action")
    valid = server.actions(1)[0]
    if not isinstance(schema, dict):
        raise SkippedCheck("/schema describes no action")
    with server.talk() as talk:
        talk.reset(server.options.seed)
        for what, action in misfitting(schema, valid):
            reply = talk.ask("step", action)
            errors = _data(reply).get("errors")
            if reply.type == "observation":
                # Validation is lax, and many a class takes more than its schema says.
                continue
            if reply.code != "VALIDATION_ERROR" or not isinstance(errors, list) or not errors:
                yield Problem(
                    f"step, an action {what}", str(reply), "refuse it before the environment sees it"
                )
                break
        after = talk.reset(server.options.seed)
    if after.type != "observation":
        yield Problem(
            "reset after an action that does not fit",
            str(after),
            "keep the session",
            expected="the session to go on",
        )


@SERVER.check("ws-seeds-reproduce", WARNING, "equal observations from equal seeds and actions")
def the_same_seed_gives_the_same_replies(server: Server) -> Iterator[Problem]:
    """Over the wire it cannot be told whether reset takes a seed, so this is a warning."""
    episode = server.episode
    with server.talk() as talk:
        again = server.play(talk, server.options.seed, server.actions(server.options.n_steps))
    found = _difference(server, episode, again)
    if found is not None:
        yield Problem(found[0], found[1], "draw what is random from random.Random(seed), made in reset")


# -- several sessions -----------------------------------------------------------------------


@SERVER.check("sessions-apart", ERROR, "two sessions that know nothing of each other")
def two_sessions_are_independent(server: Server) -> Iterator[Problem]:
    """Each has an environment of its own."""
    actions = server.actions(2)
    with server.talk() as one, server.talk() as other:
        first = one.reset(server.options.seed)
        second = other.reset(server.options.seed + 1)
        if _CAPACITY in (first.code, second.code):
            raise SkippedCheck("the server holds one session at a time")
        one.ask("step", actions[0])
        before = one.ask("state")
        other.ask("step", actions[1])
        other.reset(server.options.seed + 2)
        after = one.ask("state")
    if before.type == "state" and before.value != after.value:
        yield Problem(
            "state of one session after a step in another",
            f"{shown(before.data)} before and {after} after",
            "keep what belongs to an episode on self",
        )


@SERVER.check("capacity", ERROR, "CAPACITY_REACHED with two numbers, then the end of the connection")
def a_full_server_says_so(server: Server) -> Iterator[Problem]:
    """It is asked for a few sessions; if it has them, nothing is known of its limit."""
    talks = []
    refused: _Reply | None = None
    try:
        for _ in range(server.options.n_sessions):
            try:
                talks.append(server.open())
            except ClientError as error:
                refused = _Reply({}, str(error))
                break
            reply = talks[-1].reset(server.options.seed)
            if reply.type != "observation":
                refused = reply
                talks.pop().close()
                break
        n_open = len(talks)
        again = _after_closing_one(server, talks) if refused is not None and talks else None
    finally:
        for talk in talks:
            talk.close()
    if refused is None:
        raise SkippedCheck(f"{n_open} sessions at once are within its capacity")
    data = _data(refused)
    numbers = [data.get("active_sessions"), data.get("max_sessions")]
    if refused.code != _CAPACITY or not all(isinstance(number, int) for number in numbers):
        yield Problem(f"session {n_open + 1}", str(refused), "refuse it with CAPACITY_REACHED")
    elif again is not None and again.type != "observation":
        yield Problem(
            "a session right after another was closed",
            str(again),
            "give the slot back before the close is answered",
            expected="a free slot",
        )


@SERVER.check("close-frees", ERROR, "session after session")
def a_closed_session_frees_its_slot(server: Server) -> Iterator[Problem]:
    """Clients reconnect at once, and a refused one loses its run."""
    for n in range(server.options.n_sessions):
        with server.talk() as talk:
            reply = talk.reset(server.options.seed)
        if reply.code == _CAPACITY:
            yield Problem(
                f"session {n + 1}, opened when the one before it had been closed",
                str(reply),
                "give the slot back before the close is answered",
            )
            return


def _after_closing_one(server: Server, talks: list[_Talk]) -> _Reply:
    """What a new session says when one of a full server's was closed a moment ago."""
    talks.pop().close()
    talk = server.open()
    talks.append(talk)
    return talk.reset(server.options.seed)


def _difference(
    server: Server, one: list[tuple[str, _Reply]], other: list[tuple[str, _Reply]]
) -> tuple[str, str] | None:
    for (call, first), (_, second) in zip(one, other, strict=False):
        before, after = _seen(server, first), _seen(server, second)
        if before != after:
            return call, f"{shown(before)} and {shown(after)}"
    if len(one) != len(other):
        return "step", f"{len(one) - 1} steps and {len(other) - 1} steps until done"
    return None


def _seen(server: Server, reply: _Reply) -> Any:
    data = _data(reply)
    if reply.type != "observation":
        return reply.code or reply.type
    left_out = {"metadata", *server.options.volatile}
    observation = data.get("observation")
    shown_fields = observation if isinstance(observation, dict) else {}
    fields = {key: value for key, value in shown_fields.items() if key not in left_out}
    return fields, data.get("reward"), data.get("done")


def _observation(where: str, reply: _Reply) -> Iterator[Problem]:
    data = _data(reply)
    if reply.type != "observation":
        yield Problem(where, str(reply), "answer with an observation")
    elif not isinstance(data.get("observation"), dict) or not {"reward", "done"} <= data.keys():
        yield Problem(
            where,
            str(reply),
            "put observation, reward and done into data",
            expected="observation, reward and done in data",
        )


def _observation_over_http(where: str, response: Response) -> Iterator[Problem]:
    value = _value(response)
    if (
        response.status != 200
        or not isinstance(value, dict)
        or not isinstance(value.get("observation"), dict)
    ):
        yield Problem(where, _got(response), "answer with the observation")
        return
    missing = [key for key in ("reward", "done") if key not in value]
    if missing:
        yield Problem(where, f"none called {' and '.join(missing)}", "send them, null and false if need be")


def _control(server: Server, method: str, path: str, body: bytes = b"") -> Response:
    """One request to a route that a server in production mode does not have."""
    response = server.request(method, path, body)
    if response.status in (404, 405):
        raise SkippedCheck(f"the server has no {method} {path}, as in production mode")
    return response


def _data(reply: _Reply) -> dict[str, Any]:
    return reply.data if isinstance(reply.data, dict) else {}


def _json(response: Response) -> Any:
    return decode(response.body)


def _value(response: Response) -> Any:
    try:
        return _json(response)
    except InvalidJsonError:
        return None


def _got(response: Response) -> str:
    return f"{response.status} {shown(response.body.decode('utf-8', 'replace'))}"


def _is_schema(schema: dict[str, Any]) -> bool:
    return any(key in schema for key in ("type", "properties", "$ref", "anyOf", "oneOf", "allOf"))
