"""Trains PIM: python train.py --config configs/demo.py [--config.KEY=VALUE …]. The same command resumes."""

import sys

from absl import app, flags
from ml_collections import config_flags

from pimjax.config import explain_unknown_key

CONFIG = config_flags.DEFINE_config_file("config", None, "a file with get_config(), such as configs/demo.py")
flags.mark_flag_as_required("config")


def main(argv: list[str]) -> None:
    """Runs the configuration; what the user can mend is said in one line."""
    from pimjax.training import run  # after the flags: a misspelt one need not wait for jax

    try:
        run(CONFIG.value)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


def parse(argv: list[str]) -> list[str]:
    """absl's flags, but a --config key that does not exist is one line, with its nearest neighbours."""
    try:
        return flags.FLAGS(argv, known_only=False)
    except (KeyError, AttributeError):
        sys.exit(explain_unknown_key(argv))


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
