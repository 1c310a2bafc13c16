"""Where a checkpoint's chat template runs: jinja2's sandbox, with every step counted and every value bounded. Any thread.

jinja2's own sandbox keeps a template from the interpreter, not from running for ever or filling the memory. So nothing here is
allowed that is not on a list; whatever makes or reads a value is charged for its size, before it is made where one call could
explode; and a rendering that has spent its budget ends. No clock is asked: the same messages always cost the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jinja2 import nodes, utils
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import FILTERS
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS
from jinja2.visitor import NodeTransformer

from trine.engine.text import allowed
from trine.engine.text.allowed import Namespace
from trine.engine.text.meter import NODE, OPERATION, Meter

MAX_NODES = 1 << 13
"""Of the parsed template: compiling takes about 50 microseconds for each. Those of published checkpoints have some 2,000."""
_JINJAS = frozenset({"_block_vars", "_loop_vars", "caller"})
"""Arguments that no template writes."""
_REFUSED = (
    *(nodes.Block, nodes.Extends, nodes.FromImport, nodes.Import, nodes.Include),
    *(nodes.Pow, nodes.ScopedEvalContextModifier),
)
"""Other files, which there are none of; numbers of any size; and HTML."""


class _Metering(Extension):
    """What the transformed template calls; and the tag {% generation %}, which marks what the assistant wrote and changes nothing."""

    tags = {"generation"}
    environment: Meter

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("written"), [], [], body).set_lineno(line)

    def written(self, caller: Callable[[], str]) -> str:
        return caller()

    def charge(self, value: Any) -> Any:
        return self.environment.charge(value)

    def glance(self, value: Any) -> Any:
        return self.environment.glance(value)

    def step(self, size: int) -> None:
        """At the beginning of a body of so many nodes: most of them cost nothing of their own."""
        self.environment.spend(OPERATION + NODE * size)

    def each(self, values: Iterable[Any], size: int) -> Iterator[Any]:
        for value in values:
            self.step(size)
            yield value

    def contains(self, item: Any, values: Any) -> bool:
        self.environment.charge([item, values])
        return self.environment.contains(item, values)

    def concatenate(self, *values: Any) -> str:
        return self.environment.concat(map(str, values))


class _Metered(NodeTransformer):
    """Puts `_Metering` where jinja2 asks its environment nothing. Raises SecurityError for what is not allowed at all."""

    def __init__(self, metering: Extension) -> None:
        self._metering = metering
        self._seen = 0

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        if isinstance(node, _REFUSED) or (isinstance(node, nodes.For) and node.recursive):
            raise SecurityError(f"{type(node).__name__} is not allowed")
        before = self._seen
        self._seen += 1
        if self._seen > MAX_NODES:
            raise SecurityError("the template has too many nodes")
        node = super().visit(node, *args, **kwargs)
        return self._metered(node, size=self._seen - before)

    def _metered(self, node: nodes.Node, size: int) -> nodes.Node:
        match node:
            case nodes.For():
                node.iter = self._called("each", node.iter, nodes.Const(size))
            case nodes.Macro() | nodes.CallBlock():
                node.body.insert(0, nodes.ExprStmt(self._called("step", nodes.Const(size))))
            case nodes.Concat():
                return self._called("concatenate", *node.nodes)
            case nodes.Getitem(arg=nodes.Slice()):
                return self._called("glance", node)
            case nodes.List() | nodes.Dict() | nodes.Tuple(ctx="load"):
                return self._called("charge", node)
            case nodes.Compare():
                return self._compared(node)
        return node

    def _compared(self, node: nodes.Compare) -> nodes.Expr:
        """Two large values take long to compare, a constant and anything do not."""
        operators = {operand.op for operand in node.ops}
        if operators & {"in", "notin"}:
            if len(node.ops) > 1:
                raise SecurityError("comparisons of what contains something are not allowed")
            found = self._called("contains", node.expr, node.ops[0].expr)
            return nodes.Not(found, lineno=node.lineno) if operators == {"notin"} else found
        if not (len(node.ops) == 1 and operators <= {"eq", "ne"} and _constant(node)):
            node.expr = self._called("charge", node.expr)
            for operand in node.ops:
                operand.expr = self._called("charge", operand.expr)
        return node

    def _called(self, name: str, *arguments: Any) -> nodes.Call:
        called: nodes.Call = self._metering.call_method(name, list(arguments), lineno=arguments[0].lineno)
        return called


def _constant(node: nodes.Compare) -> bool:
    return isinstance(node.expr, nodes.Const) or isinstance(node.ops[0].expr, nodes.Const)


class Sandbox(Meter):
    """Renders one template at a time; `start` gives it the budget of the next rendering."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Metering, loopcontrols], finalize=self._printed
        )
        filters: dict[str, Callable[..., Any]] = {name: FILTERS[name] for name in allowed.FILTERS}
        filters |= {**allowed.OWN_FILTERS, "replace": self._replaced}
        known: dict[str, Any] = {**TESTS, "in": self.contains}
        tests: dict[str, Callable[..., Any]] = {name: known[name] for name in allowed.TESTS}
        self.filters = {name: self._metered_filter(name, function) for name, function in filters.items()}
        self.tests = {name: self._metered_test(name, function) for name, function in tests.items()}
        self.globals = dict(allowed.FUNCTIONS)

    def metered(self, source: str) -> nodes.Template:
        """`source` parsed, for `from_string`. Raises what jinja2 raises, and SecurityError."""
        (metering,) = [each for each in self.extensions.values() if isinstance(each, _Metering)]
        template: nodes.Template = _Metered(metering).visit(self.parse(source))
        return template

    def _metered_filter(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)  # with the mark that asks jinja2 for the context
        def metered(*args: Any, **kwargs: Any) -> Any:
            if name in allowed.QUICK_FILTERS:
                self.spend(OPERATION)
                return function(*args, **kwargs)
            moves = name in allowed.MOVING_FILTERS
            if moves:
                for each in (*args, *kwargs.values()):
                    self.glance(each)
            else:
                self.charge([*args, *kwargs.values()], allowed.PRICES.get(name, 1))
            result = function(*args, **kwargs)
            result = list(result) if isinstance(result, Iterator) else result
            return self.glance(result) if moves and name != "map" else self.charge(result)

        return metered

    def _metered_test(self, name: str, function: Callable[..., Any]) -> Callable[..., bool]:
        @functools.wraps(function)
        def metered(*args: Any, **kwargs: Any) -> bool:
            if name in allowed.QUICK_TESTS:
                self.spend(OPERATION)
            else:
                self.charge([*args, *kwargs.values()])
            return bool(function(*args, **kwargs))

        return metered

    # --- what jinja2 asks ------------------------------------------------------------------------------------------------

    @utils.pass_context  # so that nothing is printed while it is compiled
    def _printed(self, context: Context, value: Any) -> str:
        text = str(value)
        self.charge(text)
        return text

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, Namespace):
            return not attr.startswith("_")
        return any(isinstance(obj, kind) and attr in names for kind, names in allowed.METHODS.items())

    def wrap_str_format(self, value: Any) -> None:
        """`str.format` is no method of the list."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        self.spend(OPERATION)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        self.charge(argument)
        return super().getitem(obj, argument)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, _Metering):
            return obj(*args, *(value for name, value in kwargs.items() if name == "caller"))
        args = tuple(list(each) if isinstance(each, Iterator) else each for each in args)
        self.spend(OPERATION)
        given = [*args, *(value for name, value in kwargs.items() if name not in _JINJAS)]
        if isinstance(obj, Macro) or obj is Namespace:
            self.spend(4 * OPERATION)
            for each in given:
                self.glance(each)
        else:
            self.charge(given)
        if isinstance(owner, list | tuple):
            self.charge(owner)
        if isinstance(owner, str):
            self.search(owner, obj.__name__, args)
            obj = (
                functools.partial(allowed.OWN_METHODS[obj.__name__], owner)
                if obj.__name__ in allowed.OWN_METHODS
                else obj
            )
        return self.charge(super().call(context, obj, *args, **kwargs))

    def _replaced(self, s: Any, old: Any, new: Any, count: int | None = None) -> str:
        text, old = str(s), str(old)
        self.search(text, "replace", [old])
        return allowed.replace(text, old, str(new), -1 if count is None else count)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        self.glance(left)
        self.glance(right)
        if operator == "%" and isinstance(left, str):
            raise SecurityError("formats are not allowed")
        if operator == "*":
            for sized, times in ((left, right), (right, left)):
                if isinstance(sized, str | list | tuple) and isinstance(times, int):
                    allowed.bounded(len(sized) * times)
        return self.charge(super().call_binop(context, operator, left, right))
