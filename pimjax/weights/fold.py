"""BatchNorm folded into the convolution before it, for inference."""

from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from pimjax.models.layers import BATCH_NORM_EPSILON

# A BatchNorm and the convolution beside it whose output it normalizes.
_PAIRS = {"bn": "conv", "norm_out": "pointwise"}


def fold_batch_norm(variables: dict[str, Any]) -> dict[str, Any]:
    """Fold BatchNorm into a network's convolutions, for `create_model(config, Execution(folded=True))`, train=False.

    y = scale·(k∗x − mean)/√(var + ε) + bias is one convolution with kernel k·scale/√(var + ε) and a bias. The
    BatchNorms before the depthwise convolutions stay: what pads these is zero after, not before, normalization.

    Args:
        variables: {"params", "batch_stats"}, float32 arrays.

    Returns:
        new variables, numpy arrays; the factors are computed in float64.
    """
    params: dict[tuple[str, ...], Any]
    params, stats = (dict(flatten_dict(variables[name])) for name in ("params", "batch_stats"))
    for path in [path[:-1] for path in params if path[-2] in _PAIRS and path[-1] == "scale"]:
        scale, bias = (np.asarray(params.pop((*path, name)), np.float64) for name in ("scale", "bias"))
        mean, var = (np.asarray(stats.pop((*path, name)), np.float64) for name in ("mean", "var"))
        convolution = (*path[:-1], _PAIRS[path[-1]])
        factor = scale / np.sqrt(var + BATCH_NORM_EPSILON)
        kernel = np.asarray(params[(*convolution, "kernel")])
        params[(*convolution, "kernel")] = kernel * factor.astype(np.float32)
        params[(*convolution, "bias")] = (bias - mean * factor).astype(np.float32)
    return {"params": unflatten_dict(params), "batch_stats": unflatten_dict(stats)}
