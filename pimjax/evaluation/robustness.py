"""How scores fall as images are disturbed: entrants × sets × protocols × levels."""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pimjax.data.sources import Example, Source
from pimjax.evaluation.contest import safe, versions
from pimjax.evaluation.entrants import Entrant
from pimjax.evaluation.evaluate import evaluate
from pimjax.evaluation.intervals import bootstrap_of
from pimjax.evaluation.protocols import PROTOCOLS, Protocol
from pimjax.evaluation.record import Row, write_text
from pimjax.evaluation.summary import column, mean_value

SCORE = "pim-fullsize.f1"
