"""Trains PIM: python train.py --config configs/demo.py [--config.KEY=VALUE …]. The same command resumes."""

import sys

from pimjax.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
