"""Trains PIM: python train.py --config configs/demo.py [--config.KEY=VALUE …]. The same command resumes."""

import os

from absl import app, flags, logging

from pimjax.allocator import keep_freed_memory
from pimjax.config_flags import define_config, parse_flags, refuse

flags.DEFINE_bool("distributed", False, "one process of several, as the cluster says: SLURM, TPU pod, GKE, Open MPI")
flags.DEFINE_string("coordinator", None, "one process of several: HOST:PORT of the first")
flags.DEFINE_integer("process_count", None, "how many there are")
flags.DEFINE_integer("process_index", None, "which of them this is, from 0")
CONFIG = define_config()


def main(argv: list[str]) -> None:
    """Runs the configuration; what the user can mend is said in one line."""
    keep_freed_memory()  # before jax's threads have arenas of their own
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA's "Very slow compile?"; what fails, it raises as well
    from pimjax.training import loop, processes  # after the flags: a misspelt one need not wait for jax

    logging.set_verbosity(logging.FATAL)  # orbax and jax tell their every move; what fails, we say ourselves
    if argv[1:]:
        refuse(f"{argv[1]}: not a flag; did you forget the dashes of --{argv[1]}")
    try:
        given = [flags.FLAGS[name].value for name in ("coordinator", "process_count", "process_index")]
        if flags.FLAGS.distributed or any(value is not None for value in given):
            processes.join(*given)
        loop.run(CONFIG.value)
    except KeyboardInterrupt as interrupt:
        processes.leave(str(interrupt) or "interrupted; the same command resumes from the last checkpoint", 1)
    except (ValueError, OSError) as error:
        refuse(error)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
