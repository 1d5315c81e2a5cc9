"""A wrong value of an option of `pimjax` is one error line and exit status 2, before anything is read or written."""

import pytest

from pimjax.cli import main

EVALUATE = ["evaluate", "--model", "everything", "--source", "csv:a.csv"]


@pytest.mark.parametrize(
    ("command", "option", "values"),
    [
        (["check-data", "csv:a.csv"], "--max-unreadable", ["nan", "-0.1", "1.5", "inf", "x"]),
        (["preview-data", "a.py"], "--rows", ["-1", "0", "1.5", "x", "99999999999"]),
        (["predict", "a.jpg"], "--threshold", ["nan", "-1", "1", "x"]),
        (["predict", "a.jpg"], "--shard", ["0/2", "3/2", "1", "1/0", "-1/2", "a/b"]),
        (["predict", "a.jpg"], "--batch", ["-1", "x"]),
        (["serve"], "--port", ["99999", "-1", "http"]),
        (EVALUATE, "--threshold", ["nan", "-1", "7", "x"]),
        (EVALUATE, "--tiles", ["-5", "0", "x", "15"]),
        (EVALUATE, "--resize", ["-5", "0", "nan"]),
        (["bench"], "--inference", ["0", "-1"]),
        (["bench"], "--train", ["0", "x"]),
        (["bench"], "--batch", ["0", "-2"]),
        (["bench"], "--repeats", ["0", "-1", "nan"]),
    ],
)
def test_a_wrong_value_is_refused_by_name(command, option, values, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value in values:
        with pytest.raises(SystemExit) as ended:
            main([*command, f"{option}={value}"])
        assert ended.value.code == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert f"argument {option}: {value}: it must " in last
    assert not list(tmp_path.iterdir())
