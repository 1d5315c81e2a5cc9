"""How a configuration declares what its keys may hold, and the one check of it. Needs the standard library alone.

A key is declared in one line, `num_workers: int = key(2, 0)`, and every value is checked when it is set: by a
constructor, by an assignment in a configuration file, or by a flag of the command line.
"""

import dataclasses
import difflib
import functools
import math
from typing import Any, ClassVar, NamedTuple, TypeVar, cast, dataclass_transform, get_args

from pimjax.aliases import CONFIG

T = TypeVar("T")

INT32 = 2**31 - 1  # JAX counts in 32 bits


class ConfigError(ValueError):
    """A configuration cannot be used; the message names the key, or the file and its line."""

    exit_status = 2  # of a command that ends with it, as of any wrong command line


class Values(NamedTuple):
    """What a key may hold beside its type; of a tuple, what its items may."""

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf  # as `low`, but the number itself is left out
    below: float = math.inf
    choices: tuple[Any, ...] = ()
    items: tuple[float, float] = (0, math.inf)  # fewest and most of a tuple

    def __str__(self) -> str:
        """Return what may stand there, in words."""
        if self.choices:
            return f"one of {', '.join(map(repr, self.choices))}"
        if self.low > -math.inf and self.high < INT32:
            return f"{self.low} … {self.high}"
        limits = [f"{self.low} or more"] if self.low > -math.inf else []
        limits += [f"above {self.above}"] if self.above > -math.inf else []
        limits += [f"below {self.below}"] if self.below < math.inf else []
        return " and ".join(limits)

    def allow(self, value: Any) -> bool:
        """Return whether one item, whose type is right, may stand there."""
        if self.choices:
            return value in self.choices
        if isinstance(value, float) and not math.isfinite(value):
            return False
        return self.low <= value <= self.high and self.above < value < self.below


def key(default: Any, low: float = -math.inf, high: float | None = None, **rules: Any) -> Any:
    """Declare a key of a configuration: its default, the range of its numbers or of its items', and other `Values`."""
    first = default[0] if isinstance(default, tuple) and default else default
    if high is None:
        high = INT32 if isinstance(first, int) else math.inf
    return dataclasses.field(default=default, metadata={"values": Values(low, high, **rules)})


@dataclass_transform()
def section(cls: type[T]) -> type[T]:
    """Make a section of the configuration a dataclass that also takes its keys under their names of pimjax 0.1."""
    built = dataclasses.dataclass(cls)
    init: Any = built.__init__

    @functools.wraps(init)
    def renaming_init(self: Any, *args: Any, **kwargs: Any) -> None:
        # An old name comes first: dataclasses.replace gives all others under the new ones.
        given = {self.old_names()[name]: kwargs.pop(name) for name in self.old_names() if name in kwargs}
        init(self, *args, **(kwargs | given))

    built.__init__ = renaming_init  # pyright: ignore[reportAttributeAccessIssue]
    return built


class Section:
    """A part of the configuration: a dataclass that refuses unknown keys and values that no run can use."""

    PATH: ClassVar[str] = "config."

    def __init_subclass__(cls, path: str = "", root: str = "config.", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.PATH = f"{root}{path}." if path else root

    @classmethod
    def old_names(cls) -> dict[str, str]:
        """Return the keys of pimjax 0.1 that are called otherwise now."""
        return CONFIG.get(cls.PATH.removeprefix("config.").rstrip("."), {})

    def __getattr__(self, name: str) -> Any:
        # Asked only where there is no such attribute: flags such as --config.train.steps look before they set.
        if name in type(self).old_names():
            return getattr(self, type(self).old_names()[name])
        raise AttributeError(f"{self.PATH}{name}: no such key")

    def __setattr__(self, name: str, value: Any) -> None:
        name = type(self).old_names().get(name, name)
        fields = {field.name: field for field in dataclasses.fields(cast(Any, self))}
        if name not in fields:
            near = difflib.get_close_matches(name, [*fields, *type(self).old_names()], 1)
            hint = (
                f"did you mean {self.PATH}{type(self).old_names().get(near[0], near[0])}?"
                if near
                else f"there are {', '.join(fields)}"
            )
            raise ConfigError(f"{self.PATH}{name}: no such key; {hint}")
        if complaint := wrong(fields[name], value):
            raise ConfigError(f"{self.PATH}{name} is {_shown(value)}; it must {complaint}")
        super().__setattr__(name, value)


def wrong(field: dataclasses.Field, value: Any) -> str | None:
    """Return what a value of this field must be instead, to follow "it must"; None if it may stand there."""
    values: Values = field.metadata.get("values", Values())
    kind: Any = field.type
    if isinstance(kind, type) and issubclass(kind, Section):
        return None if isinstance(value, kind) else f"be a {kind.__name__}"
    item = (get_args(kind) or (kind,))[0]
    many = value if isinstance(value, tuple) else (value,)
    if (item is not kind) is not isinstance(value, tuple) or not all(_is(item, one) for one in many):
        return f"be {_words(item, kind)}"
    fewest, most = values.items
    if item is not kind and not fewest <= len(many) <= most:
        return f"have {fewest}{f' to {most}' if most < math.inf else ' or more'} items"
    if item in (int, float) or values.choices:
        if item is int and max(many, default=0) > values.high == INT32:
            return f"be {INT32} or less"
        return None if all(map(values.allow, many)) else f"{'lie in' if '…' in str(values) else 'be'} {values}"
    optional = item is not str or (item is kind and field.default == "")
    return None if optional or all(one.strip() for one in many) else "not be empty"


def _is(kind: Any, value: Any) -> bool:
    """Return whether a value is of this type; True is no number, and a whole number can stand for any."""
    return type(value) is kind or (kind is float and type(value) is int)


def _words(item: Any, kind: Any) -> str:
    one = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}[item]
    many = {int: "whole numbers, as in (1, 2)", float: "numbers, as in (0.5, 0.5)", str: "texts, as in ('a', 'b')"}
    return one if item is kind else f"a tuple of {many[item]}"


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float | tuple | list) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}…"
