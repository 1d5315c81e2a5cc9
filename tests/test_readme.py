"""What the READMEs say can be typed: commands parse, keys exist, Python runs, links lead somewhere."""

import argparse
import contextlib
import io
import re
import shlex
import sys
from pathlib import Path

import pytest
from absl import flags

from pimjax.cli import main
from pimjax.config import flags as config_flags
from pimjax.config.table import BEGIN, END, markdown
from pimjax.data.images import write_png
from pimjax.data.registry import installed_source

ROOT = Path(__file__).parent.parent
PAGES = sorted(page for page in ROOT.rglob("README.md") if not {".venv", "cases", "runs"} & set(page.parts))
PAGES += sorted((ROOT / ".github").glob("*.md"))


def blocks(page, language=""):
    """The code blocks of a page: those between fences of one language, or the indented ones for ""."""
    text = page.read_text(encoding="utf-8")
    if language:
        return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)


def commands():
    """(page, words) of every pimjax and train.py command; "…" stands for what a reader fills in."""
    for page in PAGES:
        for block in [*blocks(page), *blocks(page, "sh")]:
            for line in re.sub(r"\\\n\s*", " ", block).splitlines():
                line = "" if line.startswith("gcloud") else re.split(r"\s#", line)[0]
                for part in re.split(r"&&|\|\|", line):
                    words = shlex.split(part.replace("…", ""))
                    if "pimjax" in words[:1] or "train.py" in words[:4]:
                        yield page.relative_to(ROOT).as_posix(), tuple(words)


COMMANDS = sorted(set(commands()))


def test_there_are_commands():
    assert len(COMMANDS) > 25
    assert any(words[:2] == ("pimjax", "predict") for _, words in COMMANDS)


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[f"{page}: {' '.join(words)}" for page, words in COMMANDS])
def test_a_command_parses(page, words, monkeypatch):
    monkeypatch.chdir(ROOT)
    if "train.py" in words:
        words = ("pimjax", "train", *words[words.index("train.py") + 1 :])
    if words[:2] == ("pimjax", "train"):
        known = flags.FlagValues()
        argv = ["train", *(word for word in words[2:] if not re.match(r"--(distributed|coordinator|process_)", word))]
        monkeypatch.setattr(sys, "argv", argv)
        monkeypatch.setattr(flags, "FLAGS", known)
        holder = config_flags.define_config(known)
        config_flags.parse_flags(argv)
        assert holder.value.train.num_steps > 0
    else:
        parse = argparse.ArgumentParser.parse_args

        def parsed(parser, argv):
            arguments = parse(parser, argv)
            arguments.command = lambda arguments: 0
            return arguments

        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
        with contextlib.redirect_stderr(io.StringIO()) as printed:
            assert main(words[1:]) == 0, printed.getvalue()


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """photo.jpg, where the README's Python looks for it."""
    folder = tmp_path_factory.mktemp("readme")
    write_png(folder / "photo.png", installed_source("train")[0]["image"][:160, :200])
    (folder / "photo.png").rename(folder / "photo.jpg")
    return folder


@pytest.mark.parametrize("number", range(len(blocks(ROOT / "README.md", "python"))))
def test_the_readme_s_python_runs(number, photo, monkeypatch):
    monkeypatch.chdir(photo)
    names = {}
    exec(blocks(ROOT / "README.md", "python")[number], names)
    if "result" in names:
        assert names["result"].probability.shape == (160, 200) and 0 <= names["result"].score <= 1
    else:
        assert names["out"].mask_logits.shape == (1, 16, 16, 2)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[\w-]+)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_the_readme_is_one_screen_of_essentials():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_table_of_keys_is_that_of_the_declarations():
    """If not: paste what `python -m pimjax.config.table` prints."""
    text = (ROOT / "configs/README.md").read_text(encoding="utf-8")
    assert text.split(BEGIN)[1].split(END)[0].strip() == markdown().strip()
    for line in markdown().splitlines():
        if line.startswith("| `") and not line.startswith(("| `architecture`", "| `decoder_channels`")):
            key, meaning = line.split("|")[1].strip(" `"), line.split("|")[4].strip()
            assert meaning or key in UNEXPLAINED, f"{key} has no meaning behind its declaration"


# Their names say it, and their section's docstring gives the ranges.
UNEXPLAINED = [
    "jpeg",
    "noise",
    "blur",
    "median",
    "sharpen",
    "denoise",
    "resample",
    "gamma",
    "tone",
    "remosaic",
    "train",
    "validation",
    "num_steps",
]
