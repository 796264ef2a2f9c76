"""Tools from functions, and environments that have some, without a server around them."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jsonschema
import pytest

from openenv.codec import encode
from openenv.environment import plain_place, run_plain
from openenv.errors import SchemaError
from openenv.mcp import (
    CallToolAction,
    CallToolObservation,
    ListToolsAction,
    ListToolsObservation,
    MCPEnvironment,
    ToolErrorType,
    ToolServer,
    ToolTypes,
    action_schema_of,
    get_server_tools,
    register_tool_types,
    tool,
    tool_types_of,
)
from openenv.models import Action, Observation, State, field
from openenv.schema import dump, jsonable
from openenv.tools import ToolClient, ToolDefinition


@dataclass
class Point:
    """A place."""

    x: int
    y: int = 0


class Shop(MCPEnvironment):
    """Two tools, one of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []

    @tool
    def price(self, item: str, pieces: Annotated[int, field(ge=1)] = 1) -> float:
        """What something costs.

        In euros.

        Args:
            item: Its name,
                in full.
            pieces (int): How many.

        Returns:
            Money.
        """
        self.threads.append(threading.current_thread().name)
        if item == "gold":
            raise KeyError(item)
        return 2.5 * pieces

    @tool(name="where", description="Where it is.")
    async def find(self, item: str) -> Point:
        await asyncio.sleep(0)
        return Point(len(item))

    def reset(self, seed: int | None = None) -> Observation:
        return Observation()


def call(
    env: MCPEnvironment, name: str, timeout_s: float | None = None, **arguments: Any
) -> CallToolObservation:
    return env.step(CallToolAction(tool_name=name, arguments=arguments), timeout_s=timeout_s)


def test_a_tool_is_described_by_its_signature_and_docstring() -> None:
    """Name, text up to the sections, and for each parameter its type, default and description."""
    observation: Any = Shop().step(ListToolsAction())  # type: ignore[arg-type]
    assert isinstance(observation, ListToolsObservation)
    price, where = observation.tools
    assert (price.name, price.description) == ("price", "What something costs.\n\nIn euros.")
    assert price.input_schema == {
        "type": "object",
        "properties": {
            "item": {"type": "string", "description": "Its name, in full."},
            "pieces": {"type": "integer", "minimum": 1, "default": 1, "description": "How many."},
        },
        "required": ["item"],
        "additionalProperties": False,
    }
    assert (where.name, where.description) == ("where", "Where it is.")


@pytest.mark.parametrize(
    ("hint", "default", "good", "bad"),
    [
        (int, None, 3, "x"),
        (float | None, None, None, "x"),
        (list[Point], None, [{"x": 1}], [{"y": 1}]),
        (dict[str, list[int]], None, {"a": [1]}, {"a": ["x"]}),
        (Literal["a", "b"], None, "a", "c"),
        (tuple[int, str], None, [1, "a"], [1]),
    ],
)
def test_schemas_accept_what_tools_accept(hint: Any, default: Any, good: Any, bad: Any) -> None:
    """What the JSON Schema says is what happens."""

    def show(value):  # type: ignore[no-untyped-def]
        return str(value)

    show.__annotations__ = {"value": hint}
    made = ToolDefinition(show)
    jsonschema.validate({"value": good}, made.parameters)
    asyncio.run(made.call({"value": good}))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"value": bad}, made.parameters)
    with pytest.raises(Exception, match="Invalid arguments for tool 'show'"):
        asyncio.run(made.call({"value": bad}))


def test_a_result_has_text_structure_and_value() -> None:
    """An object stands for itself, anything else under `result`."""
    shop = Shop()
    price = call(shop, "price", item="egg", pieces="2").result
    assert json.loads(encode(dump(price), jsonable)) == {
        "content": [{"type": "text", "text": "5.0", "annotations": None, "meta": None}],
        "structured_content": {"result": 5.0},
        "meta": {"fastmcp": {"wrap_result": True}},
        "data": 5.0,
        "is_error": False,
    }
    place = call(shop, "where", item="egg").result
    assert (place.content[0].text, place.structured_content) == ('{"x":3,"y":0}', {"x": 3, "y": 0})


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "text"),
    [
        ("zz", {}, ToolErrorType.TOOL_NOT_FOUND, "Unknown tool: 'zz'"),
        ("price", {}, ToolErrorType.INVALID_ARGS, "Field required at item"),
        ("price", {"item": "egg", "colour": 1}, ToolErrorType.INVALID_ARGS, "not permitted at colour"),
        ("price", {"item": "egg", "pieces": 0}, ToolErrorType.INVALID_ARGS, "greater than or equal to 1"),
        ("price", {"item": "gold"}, ToolErrorType.EXECUTION_ERROR, "Error calling tool 'price': 'gold'"),
    ],
)
def test_a_tool_that_fails_is_an_observation(
    name: str, arguments: dict[str, Any], kind: ToolErrorType, text: str
) -> None:
    """With the kind of failure, and no result."""
    shop = Shop()
    for observation in (
        call(shop, name, **arguments),
        asyncio.run(shop.step_async(CallToolAction(tool_name=name, arguments=arguments))),
    ):
        assert observation.result is None
        assert observation.error.error_type is kind
        assert text in observation.error.message


def test_a_slow_tool_is_given_up() -> None:
    """After the step's timeout."""
    server = ToolServer()

    @server.tool
    async def wait() -> None:
        await asyncio.Event().wait()

    observation = call(MCPEnvironment(server), "wait", timeout_s=0.01)
    assert observation.error is not None
    assert observation.error.error_type is ToolErrorType.TIMEOUT
    assert observation.error.message == "Tool 'wait' timed out after 0.01 seconds"


def test_plain_tools_run_in_the_callers_thread_without_a_server() -> None:
    """A plain step stays where it is called; on a running loop it must go elsewhere."""
    shop = Shop()
    call(shop, "price", item="egg")

    async def main() -> None:
        call(shop, "price", item="egg")

    asyncio.run(main())
    assert shop.threads[0] == threading.current_thread().name
    assert shop.threads[1] == "openenv-mcp-call"


def test_plain_code_of_a_coroutine_runs_where_the_runner_says() -> None:
    """`run_plain` asks the runner around it; outside of one it takes a thread of the loop's."""

    async def place(function: Any) -> Any:
        return ("placed", function())

    async def main() -> tuple[Any, Any]:
        outside = await run_plain(lambda: threading.current_thread() is threading.main_thread())
        plain_place.set(place)
        return outside, await run_plain(lambda: 1)

    assert asyncio.run(main()) == (False, ("placed", 1))


def test_reserved_names_are_refused() -> None:
    """They are the trainer's."""
    with pytest.raises(ValueError, match="reserved names: \\['reset'\\]"):

        class Wrong(MCPEnvironment):
            @tool
            def reset(self) -> None: ...  # type: ignore[override]

    server = ToolServer()
    with pytest.raises(ValueError, match="reserved"):
        server.add_tool(lambda: None, name="step")
    server.add_tool(lambda: None, name="once")
    with pytest.raises(ValueError, match="there is a tool 'once' already"):
        server.add_tool(lambda: None, name="once")
    with pytest.raises(ValueError, match="'state' is reserved"):
        MCPEnvironment(server).tool(mode="production")(_named("state"))


def _named(name: str) -> Any:
    def function() -> None: ...

    function.__name__ = name
    return function


def test_parameters_without_names_are_refused() -> None:
    """There is no key under which a client could give them."""
    with pytest.raises(TypeError, match="by name"):
        ToolDefinition(lambda *items: items, name="all")
    with pytest.raises(TypeError, match="_hidden"):
        ToolDefinition(lambda _hidden: None, name="all")
    free = ToolDefinition(lambda a, **rest: [a, rest], name="free")
    assert asyncio.run(free.call({"a": 1, "b": 2})).data == [1, {"b": 2}]


def test_an_override_without_the_mark_is_no_tool() -> None:
    """What a subclass takes back is gone; what it adds comes last."""

    class Fewer(Shop):
        def price(self, item: str, pieces: int = 1) -> float:
            return 0.0

        @tool
        def extra(self) -> int:
            return 1

    assert list(get_server_tools(Fewer().mcp_server)) == ["where", "extra"]


def test_a_server_and_marked_methods_exclude_each_other() -> None:
    """Nobody could tell which of them clients see."""

    class Both(MCPEnvironment):
        def __init__(self) -> None:
            super().__init__(ToolServer())

        @tool
        def one(self) -> None: ...

    with pytest.raises(TypeError, match="marked as tools \\(one\\)"):
        Both()


def test_tools_of_a_mode_are_seen_in_it_alone() -> None:
    """And those of no mode in every one."""
    env = MCPEnvironment(ToolServer())

    @env.tool(mode="simulation")
    def secret(a: int, b: str = "x") -> str:
        """Only there."""
        return f"{a}{b}"

    @env.tool()
    def open_to_all(n: int) -> int:
        return n + 1

    observation: Any = env.step(ListToolsAction())  # type: ignore[arg-type]
    assert [entry.name for entry in observation.tools] == ["open_to_all"]
    refused = call(env, "secret", a=1)
    assert refused.error is not None
    assert refused.error.message == "Tool 'secret' not available in None mode"
    env._mode = "simulation"
    observation = env.step(ListToolsAction())  # type: ignore[arg-type]
    assert [entry.name for entry in observation.tools] == ["open_to_all", "secret"]
    assert observation.tools[1].input_schema["properties"] == {
        "a": {"type": "integer"},
        "b": {"type": "string"},
    }
    assert call(env, "secret", a=1).result.data == "1x"
    assert call(env, "open_to_all", n=1).result.content[0].text == "2"
    with pytest.raises(ValueError, match="Invalid mode"):
        env.tool(mode="other")


def test_code_calls_tools_as_functions() -> None:
    """Its result, or what it raised."""
    env = Shop()
    assert env.supports_code_mode
    assert env.execute_code("result = price('egg', 2) + 1").metadata == {"result": 6.0}
    assert env.execute_code("1 +").metadata["error"].startswith("Syntax error: ")
    assert env.execute_code("price('gold')").metadata == {"error": "'gold'"}


def test_other_actions_go_to_step_impl() -> None:
    """And without one the environment says what it takes."""

    class Moves(Shop):
        def _step_impl(self, action: Any, timeout_s: float | None = None, **kwargs: Any) -> Observation:
            return Observation(reward=timeout_s)

    other: Any = Action()
    assert Moves().step(other, timeout_s=2.0).reward == 2.0
    assert asyncio.run(Moves().step_async(other)).reward is None
    with pytest.raises(NotImplementedError, match="_step_impl"):
        Shop().step(other)


def test_a_closed_environment_has_no_tools() -> None:
    """It says so."""
    env = Shop()
    env.close()
    observation: Any = env.step(ListToolsAction())  # type: ignore[arg-type]
    assert observation.tools == []
    assert observation.metadata["error"] == "MCP client is not available; environment is closed"


def test_a_step_that_servers_will_not_call_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Existing servers await `step_async`, and so do we."""
    with caplog.at_level(logging.WARNING, "openenv.mcp"):

        class Sync(Shop):
            def step(self, action: Any, timeout_s: float | None = None, **kwargs: Any) -> Any:
                return super().step(action, timeout_s, **kwargs)

    assert "override step_async too" in caplog.text


def test_a_server_of_somebody_elses_needs_fastmcp() -> None:
    """The error says what to install, and what else would do."""

    class Foreign:
        async def list_tools(self) -> list[Any]:
            return []

    with pytest.raises(ImportError, match=r"needs fastmcp: .*openenv\.mcp\.tool"):
        MCPEnvironment(Foreign())


def test_the_type_of_an_action_chooses_its_class() -> None:
    """Where the app's action class is `Action` or a tool action; of any other it is a field."""
    for cls in (Action, CallToolAction, ListToolsAction):
        schema = action_schema_of(cls)
        assert type(schema.load({"type": "list_tools"})) is ListToolsAction
        made = schema.load({"type": "call_tool", "tool_name": "a"})
        assert (type(made), made.arguments) == (CallToolAction, {})
        with pytest.raises(SchemaError):
            schema.load({"type": ["unhashable"]})
    assert type(action_schema_of(CallToolAction).load({"tool_name": "a"})) is CallToolAction

    class Own(Action):
        type: str

    assert type(action_schema_of(Own).load({"type": "list_tools"})) is Own
    assert tool_types_of(Own) is None


def test_another_family_of_classes_can_be_made_known() -> None:
    """As a package with classes of its own does."""

    class OtherAction(Action): ...

    class OtherCall(CallToolAction): ...

    class OtherObservation(CallToolObservation): ...

    native = tool_types_of(CallToolAction)
    assert native is not None
    family = ToolTypes(
        OtherAction, *native[1:4], ListToolsAction, OtherCall, ListToolsObservation, OtherObservation
    )
    register_tool_types(family)
    assert tool_types_of(OtherCall) is family
    assert type(action_schema_of(OtherAction).load({"type": "call_tool", "tool_name": "a"})) is OtherCall

    class OtherShop(Shop):
        tool_types = family

    made = OtherShop().step(OtherCall(tool_name="price", arguments={"item": "egg"}))
    assert type(made) is OtherObservation


def test_the_client_of_a_tool_server_has_the_methods_of_fastmcps() -> None:
    """Connected at once, entered as often as one likes."""
    server = ToolServer("one", "Use them well.")

    @server.tool(name="two", description="Gives two.")
    def give_two() -> int:
        return 2

    assert give_two() == 2

    async def main() -> None:
        async with ToolClient(server) as client, client:
            assert client.is_connected()
            (listed,) = await client.list_tools()
            assert (listed.name, listed.description) == ("two", "Gives two.")
            assert listed.outputSchema is not None
            assert (await client.call_tool("two")).data == 2

    asyncio.run(main())


def test_a_state_is_still_the_authors() -> None:
    """An environment with tools is an environment."""

    class Stated(Shop):
        @property
        def state(self) -> State:
            return State(step_count=3)

    assert Stated().state.step_count == 3
