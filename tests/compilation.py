"""How XLA compiles in tests. Imported before JAX."""

import importlib.metadata

# Compilation takes most of the tests' time, and what is compiled runs for seconds: optimize less. A second worker needs
# the second core. The older emitters of fused loops, which later versions no longer have, compile a training step in
# half the time.
_OLDER = tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2])) < (0, 11)
QUICK = ("--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1")
QUICK += ("--xla_cpu_use_fusion_emitters=false",) if _OLDER else ()
# They round otherwise: not where the bar is float32's own error.
AS_RELEASED = {"xla_cpu_use_fusion_emitters": True} if _OLDER else {}
