"""A model's initial parameters, without compiling its forward pass.

XLA compiles a generator of random numbers for every shape, 0.3 s each on a CPU: of a whole network's `init`, that is
nearly all the time. Here few sizes are compiled, and each parameter takes as many of the first numbers as it needs.
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, jaxpr_as_fun


def fresh_variables(model: nn.Module, key: jax.Array) -> dict[str, Any]:
    """Return what `jax.jit(model.init)(key, images)` returns, number by number; images are float32 [B, H, W, 3]."""
    side = getattr(model, "smallest_side", 32)
    init = lambda key: model.init(key, jnp.zeros((1, side, side, 3)))  # noqa: E731
    traced, shapes = jax.make_jaxpr(init, return_shape=True)(key)
    jaxpr = traced.jaxpr
    draws = [equation for equation in _needed(jaxpr.eqns, jaxpr.outvars) if _is_draw(equation)]
    arguments = [variable for equation in draws for variable in equation.invars]
    numbers = [variable for equation in draws for variable in equation.outvars]
    given = iter(jax.jit(_part(traced, [], arguments))(key))  # of each draw: its key, and its limits
    drawn = [_draw(equation, [next(given) for _ in equation.invars]) for equation in draws]
    rest = _part(traced, numbers, jaxpr.outvars)

    @jax.jit
    def finish(key: jax.Array, drawn: list[jax.Array]) -> list[jax.Array]:
        kinds = [_kind(variable).shape for variable in numbers]
        return rest(key, *(more[: math.prod(kind)].reshape(kind) for more, kind in zip(drawn, kinds, strict=True)))

    return jax.tree.unflatten(jax.tree.structure(shapes), finish(key, drawn))


def _part(traced: ClosedJaxpr, known: list[Any], wanted: list[Any]) -> Callable[..., list[jax.Array]]:
    """Return the function of the traced one's argument, and of values `known`, to those `wanted`."""
    jaxpr = traced.jaxpr
    equations = _needed([equation for equation in jaxpr.eqns if not set(equation.outvars) & set(known)], wanted)
    part = jaxpr.replace(invars=[*jaxpr.invars, *known], outvars=list(wanted), eqns=equations)
    return jaxpr_as_fun(ClosedJaxpr(part, traced.consts))


def _needed(equations: list[JaxprEqn], wanted: list[Any]) -> list[JaxprEqn]:
    """Return the equations on which the values wanted depend, in their order: not those of the forward pass."""
    variables = {variable for variable in wanted if not isinstance(variable, Literal)}
    needed = []
    for equation in reversed(equations):
        if variables.intersection(equation.outvars):
            needed.append(equation)
            variables |= {variable for variable in equation.invars if not isinstance(variable, Literal)}
    return needed[::-1]


def _is_draw(equation: JaxprEqn) -> bool:
    """Return whether it draws random numbers, each from the key and the number's place alone."""
    return equation.params.get("name") in ("_truncated_normal", "_normal", "_uniform") and _partitionable()


def _partitionable() -> bool:
    return jax.config.jax_threefry_partitionable  # pyright: ignore[reportAttributeAccessIssue]


def _kind(variable: Any) -> jax.ShapeDtypeStruct:
    """Return an array variable's shape and type; jax declares them for any abstract value."""
    return variable.aval


def _draw(equation: JaxprEqn, given: list[jax.Array]) -> jax.Array:
    """Return the numbers of a draw, flat, and some more: a size whose generator may be compiled already."""
    kind = _kind(equation.outvars[0])
    size = _rounded_up(math.prod(kind.shape))
    if equation.params["name"] == "_normal":
        return jax.random.normal(given[0], (size,), kind.dtype)
    draw_key, low, high = given
    if equation.params["name"] == "_uniform":
        return jax.random.uniform(draw_key, (size,), kind.dtype, low, high)
    return jax.random.truncated_normal(draw_key, low, high, (size,), kind.dtype)


def _rounded_up(size: int) -> int:
    """Return a size not below this one, of few: 4096 times a power of four, and of two from a million on."""
    bits = max(size - 1, 4095).bit_length()
    return 1 << (bits + bits % 2 if bits < 20 else bits)
