"""Trains PIM: python train.py --config configs/demo.py [--config.KEY=VALUE …]. The same command resumes."""

import sys

from absl import app, flags, logging
from ml_collections import config_flags

from pimjax.allocator import keep_freed_memory
from pimjax.config_files import explain_flag_error

CONFIG = config_flags.DEFINE_config_file("config", None, "a file with get_config(), such as configs/demo.py")
flags.mark_flag_as_required("config")


def main(argv: list[str]) -> None:
    """Runs the configuration; what the user can mend is said in one line."""
    keep_freed_memory()  # before jax's threads have arenas of their own
    from pimjax.training.loop import run  # after the flags: a misspelt one need not wait for jax

    logging.set_verbosity(logging.ERROR)  # orbax and jax tell their every move
    if argv[1:]:
        sys.exit(f"error: {argv[1]}: not a flag; did you forget the dashes of --{argv[1]}")
    try:
        run(CONFIG.value)
    except (ValueError, OSError, KeyboardInterrupt) as error:
        sys.exit(f"error: {error}" if str(error) else "interrupted; the same command resumes from the last checkpoint")


def parse(argv: list[str]) -> list[str]:
    """absl's parser; a wrong key or value under --config is one line, not a traceback."""
    try:
        return flags.FLAGS(argv)
    except (flags.Error, KeyError, TypeError, AttributeError, OSError) as error:
        sys.exit(explain_flag_error(argv, error))


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
