"""Training from a command line: `pimjax train --config FILE [--config.KEY=VALUE …]`, or `python train.py` likewise."""

import os
import sys

from pimjax.shutdown import INTERRUPTED, RESUMES, Shutdown, run_guarded


def main(argv: list[str] | None = None) -> int:
    """Read the flags of `argv` (else of `sys.argv`), train, and return the exit status. The same command resumes."""
    if argv is not None:
        sys.argv[:] = argv  # where ml_collections looks for the keys
    return run_guarded(_run)


def _run(_: Shutdown) -> None:
    from absl import app, flags  # here, where Ctrl-C is one line

    from pimjax.config.flags import define_config, parse_flags

    several = "one process of several"
    flags.DEFINE_bool("distributed", False, f"{several}, as the cluster says: SLURM, TPU pod, GKE, Open MPI")
    flags.DEFINE_string("coordinator", None, f"{several}: HOST:PORT of the first")
    flags.DEFINE_integer("process_count", None, "how many there are")
    flags.DEFINE_integer("process_index", None, "which of them this is, from 0")
    define_config()
    app.run(lambda argv: _train(argv, flags.FLAGS), flags_parser=parse_flags)


def _train(argv: list[str], given) -> None:
    from absl import logging

    from pimjax.allocator import keep_freed_memory
    from pimjax.config.values import ConfigError

    keep_freed_memory()  # before jax's threads have arenas of their own
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA's "Very slow compile?"; what fails, it raises as well
    from pimjax.training import distributed, loop, signals  # after the flags: a misspelt one need not wait for jax

    logging.set_verbosity(logging.FATAL)  # orbax and jax tell their every move; what fails, we say ourselves
    if argv[1:]:
        raise ConfigError(f"{argv[1]}: not a flag; did you forget the dashes of --{argv[1]}")
    try:
        place = (given.coordinator, given.process_count, given.process_index)
        if given.distributed or any(value is not None for value in place):
            distributed.initialize_distributed(*place)
        loop.run(given.config)
    except KeyboardInterrupt as interrupt:
        signals.exit_now(str(interrupt) or f"{RESUMES} from the last checkpoint", INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
