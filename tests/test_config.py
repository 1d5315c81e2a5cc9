"""No value that a run cannot use gets into a configuration: by a constructor, a file or a flag, for every key."""

import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

from pimjax.config import Config
from pimjax.config import flags as config_flags
from pimjax.config.load import flatten, read_config
from pimjax.config.validate import check
from pimjax.config.values import ConfigError, Section

ROOT = Path(__file__).parent.parent


def sections(config=None, path=()):
    """(names to it, section) of a whole configuration."""
    config = Config() if config is None else config
    yield path, config
    for field in dataclasses.fields(config):
        if dataclasses.is_dataclass(field.type):
            yield from sections(getattr(config, field.name), (*path, field.name))


KEYS = [
    (".".join((*path, field.name)), type(section), field)
    for path, section in sections()
    for field in dataclasses.fields(section)
    if not dataclasses.is_dataclass(field.type)
]


def refused(field):
    """Values that the key must not take."""
    values = field.metadata.get("values")
    one = [None, {}, "x" if field.type is not str else 3]
    if field.type is bool:
        return [*one, 1, "yes"]
    if field.type is str:
        return [*one, *([] if field.default == "" else ["", " "]), *(["no choice"] if values else [])]
    item = field.type.__args__[0] if hasattr(field.type, "__args__") else field.type
    if item is str:
        return [*one, "csv:a.csv", [], ("",), (3,), *([()] if field.default else [])]
    numbers = [math.nan, math.inf, -math.inf, -1, True, "1"] + ([1.5, 2**40] if item is int else [])
    numbers += [values.low - 1] if values.low > -math.inf else [values.above]
    numbers += [values.high + 1] if values.high < math.inf else [values.below] if values.below < math.inf else []
    if item is field.type:
        return one + numbers
    return [*one, *[(number,) for number in numbers], [1], 1, *([()] if values.items[0] else [])]


def test_every_number_has_a_range_and_every_section_knows_its_place():
    for key, _, field in KEYS:
        assert field.type in (bool, str, tuple[str, ...]) or "values" in field.metadata, key
    for path, section in sections():
        assert isinstance(section, Section)
        assert ".".join(("config", *path, "")) == type(section).PATH


@pytest.mark.parametrize(("key", "cls", "field"), KEYS, ids=[key for key, *_ in KEYS])
def test_a_wrong_value_is_refused_where_it_is_set(key, cls, field):
    for value in refused(field):
        for build in (lambda v: cls(**{field.name: v}), lambda v: setattr(cls(), field.name, v)):
            with pytest.raises(ConfigError) as raised:
                build(value)
            assert str(raised.value).startswith(f"config.{key} is "), value
            assert "; it must " in str(raised.value)
            assert len(str(raised.value)) < 250
    setattr(cls(), field.name, field.default)


def refused_texts(field):
    """What must not stand behind --config.KEY=."""
    values = field.metadata.get("values")
    if field.type is bool:
        return ["maybe", "2"]
    if field.type is str:
        return ["no choice"] if values else [] if field.default == "" else ["", " "]
    if field.type == tuple[str, ...]:
        return ["", "(3,)", *(["()"] if field.default else [])]
    low = values.low - 1 if values.low > -math.inf else values.above
    if field.type in (int, float):
        return ["x", "", "nan", "inf", f"{low}", *(["1.5", f"{2**40}"] if field.type is int else [])]
    return ["x", "(nan,)", "('x',)", f"({low},)", "(1, (2,))"]


@pytest.mark.parametrize(("key", "cls", "field"), KEYS, ids=[key for key, *_ in KEYS])
def test_a_wrong_value_on_the_command_line_is_one_line_and_status_2(key, cls, field, monkeypatch):
    for text in refused_texts(field):
        with pytest.raises(ConfigError) as refused:
            parse(monkeypatch, f"--config.{key}={text}")
        assert refused.value.exit_status == 2
        assert "\n" not in str(refused.value) and key in str(refused.value), text


def parse(monkeypatch, *arguments):
    """Parse a command line as train.py does, and return the configuration."""
    known = flags.FlagValues()
    argv = ["train.py", "--config", str(ROOT / "configs/demo.py"), *arguments]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(flags, "FLAGS", known)
    holder = config_flags.define_config(known)
    config_flags.parse_flags(argv)
    return holder.value


def test_right_values_of_the_command_line_arrive(monkeypatch):
    config = parse(
        monkeypatch,
        "--config.data.num_workers=0",
        "--config.optimizer.learning_rate=1",
        "--config.data.train=('a:b', 'c:d')",
        "--config.model.depths=(1,2)",
        "--config.data.flip=False",
        "--config.train.wandb=",
    )
    assert (config.data.num_workers, config.optimizer.learning_rate, config.data.train) == (0, 1, ("a:b", "c:d"))
    assert (config.model.depths, config.data.flip, config.train.wandb) == ((1, 2), False, "")


def test_values_that_do_not_go_together_are_refused():
    for section, changes, message in (
        ("loss", dict(mask=0, boundary=0, reconstruction=0, compactness=0), "config.loss: all weights are 0"),
        ("data", dict(weights=(0.5, 0.5)), "has 2 numbers for the 1 sources"),
        ("train", dict(spike=0.5), "above 1, or 0"),
        ("profile", dict(steps=(5, 3)), "give the first and the last step"),
    ):
        config = Config()
        for key, value in changes.items():
            setattr(getattr(config, section), key, value)
        with pytest.raises(ConfigError, match=message):
            check(config)
    config = Config()
    config.pida.masks.min_area = 0.5
    with pytest.raises(ConfigError, match=r"min_area 0\.5 is above max_area 0\.4"):
        check(config)


BEGIN = "from pimjax.config import *\n\n\ndef get_config():\n"
FILES = {
    "not_python": ("def get_config(:\n    pass\n", "line 1: SyntaxError"),
    "exception": (BEGIN + "    return 1 / 0\n", "line 5: ZeroDivisionError: division by zero"),
    "exception_below": (BEGIN + "    return deeper()\n\n\ndef deeper():\n    return [][3]\n", "line 9: IndexError"),
    "missing_import": ("import no_such_module\n", "line 1: ModuleNotFoundError"),
    "wrong_class": (BEGIN + "    return DataConfig()\n", "get_config() gives a DataConfig"),
    "nothing": (BEGIN + "    Config()\n", "get_config() gives nothing"),
    "without": ("config = 3\n", "not a configuration"),
    "unknown_key": (BEGIN + "    return Config(data=DataConfig(wrokers=2))\n", "line 5: TypeError"),
    "unknown_key_set": (
        BEGIN + "    c = Config()\n    c.train.stepz = 5\n    return c\n",
        "line 6: config.train.stepz: no such key; did you mean config.train.num_steps?",
    ),
    "wrong_type": (
        BEGIN + '    return Config(data=DataConfig(num_workers="2"))\n',
        "line 5: config.data.num_workers is '2'; it must be a whole number",
    ),
    "wrong_value": (
        BEGIN + "    c = Config()\n    c.pida.after_jpeg = 1.1\n    return c\n",
        "line 6: config.pida.after_jpeg is 1.1; it must lie in 0 … 1",
    ),
    "wrong_section": (
        BEGIN + "    return Config(model=None)\n",
        "line 5: config.model is a NoneType; it must be a NetworkConfig",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_an_error_in_a_configuration_file_is_one_line_with_file_and_line(name, tmp_path):
    text, message = FILES[name]
    file = tmp_path / f"{name}.py"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_config(file)
    said = str(raised.value)
    assert said.startswith(str(file)) and message in said and "\n" not in said


def test_processes_end_with_status_2(tmp_path):
    """The case B20, an error in a file, a file that is not there; by train.py and by pimjax."""
    (tmp_path / "broken.py").write_text(BEGIN + "    return Config(seed=-1)\n")
    train = [sys.executable, "train.py", "--config"]
    tool = [sys.executable, "-c", "import sys; from pimjax.cli import main; sys.exit(main())"]
    for command, message in (
        (
            [*train, "configs/demo.py", "--config.data.num_workers=-3"],
            "config.data.num_workers is -3; it must be 0 or more",
        ),
        ([*train, str(tmp_path / "broken.py")], "broken.py, line 5: config.seed is -1; it must be 0 or more"),
        ([*train, "nowhere.py"], "nowhere.py: No such file or directory; give a file with get_config()"),
        ([*tool, "preview-data", str(tmp_path / "broken.py")], "broken.py, line 5: config.seed is -1"),
    ):
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
        )
        assert done.returncode == 2
        assert done.stderr.startswith("error: ") and message in done.stderr and done.stderr.count("\n") == 1


def test_help_shows_every_key_without_a_configuration_and_without_jax():
    code = (
        "import runpy, sys; sys.argv = ['train.py', '--help']\n"
        "try:\n    runpy.run_path('train.py', run_name='__main__')\n"
        "finally:\n    assert not {'jax', 'flax', 'grain', 'orbax'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = {line.split("=")[0].strip(): line for line in done.stdout.splitlines() if "--config." in line}
    assert lines.keys() >= {f"--config.{key}" for key in flatten(Config())}
    assert (
        "0 … 1" in lines["--config.data.max_unreadable"]
        and "share of training images" in lines["--config.data.max_unreadable"]
    )
    assert "one of 'resize', 'crop'" in lines["--config.data.resize_mode"]
    assert "--coordinator" in done.stdout
