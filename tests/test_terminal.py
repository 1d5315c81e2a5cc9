"""What reaches the terminal, in any encoding, with any name of a file; and how a command ends that is broken off."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pimjax import allocator
from pimjax.cli import main
from pimjax.data_checks.contact_sheets import checked_sheet
from pimjax.evaluation.tables import latex, markdown
from pimjax.profiling import report as benchmark_report
from pimjax.shutdown import INTERRUPTED, READER_GONE, explain
from pimjax.terminal import accept_any_text, say
from pimjax.visualize import _drawable, _shortened

ROOT = Path(__file__).parent.parent
CASES = Path(__file__).parent / "cases"
NASTY = (
    "a\033[2J\033]0;pwn\007.jpg",
    "b\nc.jpg",
    "d\te.jpg",
    "f\u202eg.jpg",
    "h\x9bi.jpg",
)  # ESC, BEL, newline, bidi, C1
OPENCV_WITHOUT_LIBGL = 'raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")\n'


def start(*arguments, prelude="", cwd=None, script="", **environment):
    """`pimjax`, or a script, as a process of its own, after the code in `prelude`."""
    run = f"import runpy; sys.argv[0] = {script!r}; runpy.run_path({script!r}, run_name='__main__')"
    if not script:
        run = "from pimjax.cli import main; sys.exit(main())"
    # A test that runs in the background would have SIGINT ignored.
    code = f"import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n{prelude}\n{run}"
    path = os.pathsep.join(filter(None, (environment.pop("first", ""), str(ROOT))))
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(*arguments, **options):
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def interrupt(process, moment):
    """SIGINT to the process and its children after so many seconds, as a terminal sends it."""
    time.sleep(moment)
    os.killpg(process.pid, signal.SIGINT)
    began = time.monotonic()
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err, time.monotonic() - began


# Names


def test_names_reach_the_terminal_escaped(tmp_path):
    for name in NASTY:
        shutil.copy(CASES / "B16_terminal_escape_in_name/ok.jpg", tmp_path / name)
    status, out, err = finish("check-data", "folder:.", cwd=tmp_path)
    assert status == 0
    shown = out + err.replace(b"\r", b"")
    assert not set(shown) & (set(range(32)) - {10}) and b"\xc2\x9b" not in shown and "\u202e".encode() not in shown
    for escaped in (rb"a\x1b[2J\x1b]0;pwn\x07.jpg", rb"b\nc.jpg", rb"d\te.jpg", rb"f\u202eg.jpg", rb"h\x9bi.jpg"):
        assert escaped in out


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "--shard", "{}"),  # what argparse says
        ("predict", "{}", "--list", "{}"),
        ("convert", "{}", "x.pth"),
        ("check-data", "folder:{}"),
        ("evaluate", "--model", "{}", "--source", "folder:."),
        ("prepare-data", "{}", "--from", "."),
    ],
)
def test_words_of_the_command_line_are_escaped_in_errors(name, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(CASES / "B24_encoding/a.jpg", tmp_path)
    try:
        assert main([argument.format(name) for argument in arguments]) != 0
    except SystemExit as exit_:
        assert exit_.code == 2
    out, err = capsys.readouterr()
    assert "error: " in err and not set(out + err) & set("\033\007\t\x9b\u202e")
    assert "\nc.jpg" not in err


def test_a_name_does_not_break_a_table(capsys):
    table = [["model", "images"], ["a\nb|c\td", "3"]]
    assert len(markdown(table).split("\n")) == 3 and r"a\nb\|c\td" in markdown(table)
    assert latex(table, "x\ny").count("\n") == latex([["model", "images"], ["a", "3"]], "x").count("\n")
    say("a\tb", "c\nd")
    assert capsys.readouterr().out == "a\tb\nc\\nd\n"


def test_only_one_place_prints():
    allowed = {ROOT / "pimjax/terminal.py"}
    for path in {*(ROOT / "pimjax").rglob("*.py"), ROOT / "train.py"} - allowed:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert called not in ("print", "tqdm.write", "sys.stdout.write", "sys.stderr.write"), f"{path}: {called}"


# Encodings


@pytest.mark.parametrize("encoding", ["cp437", "ascii", "latin-1", "cp1252", "utf-8"])
def test_any_encoding_will_do(encoding, tmp_path):
    shutil.copy(CASES / "B24_encoding/a.jpg", tmp_path)
    shutil.copy(CASES / "B24_encoding/a.jpg", tmp_path / "照片 ü.jpg")
    status, out, err = finish("check-data", "folder:.", cwd=tmp_path, PYTHONIOENCODING=encoding)
    assert status == 0, err
    assert b"training may start" in out and b"error" not in err and b"Traceback" not in err
    assert len(json.loads((tmp_path / "check/check.json").read_text(encoding="utf-8"))["examples"]) == 2


def test_results_are_kept_though_nobody_reads_them(tmp_path):
    shutil.copy(CASES / "B24_encoding/a.jpg", tmp_path)
    code = "import os; os.close(1)\nimport sys"  # before Python looks: as `>&-`
    for prelude in (f"{code}; sys.stdout = None", "import sys; sys.stdout = open('/dev/full', 'w')"):
        shutil.rmtree(tmp_path / "check", ignore_errors=True)
        _, _, err = finish("check-data", "folder:.", cwd=tmp_path, prelude=prelude)
        assert b"Traceback" not in err and (tmp_path / "check/check.json").exists()
    assert b"error: what is printed cannot be written (No space left on device)" in err


def test_a_stream_that_cannot_be_told_is_left_alone(monkeypatch):
    notebook = type("Notebook", (), {})()
    monkeypatch.setattr(sys, "stdout", notebook)
    accept_any_text()
    assert sys.stdout is notebook
    assert not vars(notebook)


# Systems without this or that


def test_nothing_of_unix_is_imported_unconditionally():
    of_unix = {"fcntl", "resource", "termios", "pwd", "grp", "posix", "syslog"}
    for path in (ROOT / "pimjax").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            assert not names & of_unix, path


def test_where_the_system_lacks_them_commands_work_without(tmp_path):
    """What Windows lacks, or macOS: the case A32 and others like it."""
    prelude = (
        "import os, sys; sys.modules |= {'fcntl': None, 'resource': None}\n"
        "del os.sched_getaffinity, signal.pthread_sigmask\n"
        "import pimjax.profiling.measure, pimjax.profiling.report, pimjax.allocator, pimjax.shutdown, ctypes\n"
        "pimjax.profiling.report.machine()\n"
        "ctypes.CDLL = lambda _: (_ for _ in ()).throw(FileNotFoundError)  # no libc.so.6\n"
        "pimjax.allocator.keep_freed_memory(); pimjax.allocator.return_freed_memory()\n"
        "with pimjax.shutdown.ignore_interrupts(): pass"
    )
    status, _, err = finish("predict", "none.jpg", prelude=prelude, cwd=tmp_path)
    assert status == 1 and b"Traceback" not in err and b"none.jpg: cannot be read" in err


def test_memory_that_nobody_knows_is_no_number(monkeypatch):
    monkeypatch.setattr(allocator, "resource", None)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: (_ for _ in ()).throw(OSError))
    assert allocator.resident_peak() is None
    assert benchmark_report._gigabytes({"peak_bytes": None}) == "–"


@pytest.mark.parametrize(
    ("arguments", "works"),
    [
        (("--help",), True),
        (("predict", "--help"), True),
        (("serve", "--help"), True),
        (("robustness", "--help"), True),
        (("predict", "a.jpg"), False),
        (("check-data", "folder:."), False),
        (("robustness", "--model", "pim-small", "--source", "folder:."), False),
        (("evaluate", "--model", "pim-small", "--source", "folder:."), False),
    ],
)
def test_without_libgl_there_is_help_and_one_line(arguments, works, tmp_path):
    (tmp_path / "fake/cv2").mkdir(parents=True)
    (tmp_path / "fake/cv2/__init__.py").write_text(OPENCV_WITHOUT_LIBGL)
    shutil.copy(CASES / "B24_encoding/a.jpg", tmp_path)
    status, out, err = finish(*arguments, cwd=tmp_path, first=str(tmp_path / "fake"))
    if works:
        assert (status, err) == (0, b"") and b"usage: pimjax" in out
    else:
        assert status == 1
        (line,) = err.decode().strip().split("\n")
        assert line.startswith("error: OpenCV cannot be loaded (libGL.so.1") and "apt-get install libgl1" in line


def test_without_libgl_training_says_so(tmp_path):
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2/__init__.py").write_text(OPENCV_WITHOUT_LIBGL)
    train = str(ROOT / "train.py")
    _, out, err = finish("--help", script=train, first=str(tmp_path))
    assert b"--config" in out + err and b"Traceback" not in err
    _, _, err = finish("--config", ROOT / "configs/demo.py", script=train, first=str(tmp_path), cwd=tmp_path)
    assert err.startswith(b"error: OpenCV cannot be loaded") and err.count(b"\n") == 1


def test_help_waits_for_no_library():
    heavy = "('jax', 'cv2', 'numpy', 'PIL', 'tensorflow')"
    code = f"import atexit; atexit.register(lambda: print([m for m in {heavy} if m in sys.modules], file=sys.stderr))"
    assert finish("predict", "--help", prelude=code)[2].strip() == b"[]"
    assert finish("--help", script=str(ROOT / "train.py"), prelude=code)[2].strip().endswith(b"[]")


# Ends

WAITING = "import pimjax.cli.{0}; pimjax.cli.{0}.{1} = work\n"
STUBBORN = """
def work(arguments):
    import time
    print("at work", flush=True)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            time.sleep(0.1)
        except BaseException:
            pass  # as a library does that KeyboardInterrupt happens to meet
"""
THREADS = """
def work(arguments):
    import time
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(2) as pool:
        print("at work", flush=True)
        list(pool.map(time.sleep, [0.5] * 40))
"""
WRAPPED = """
def work(arguments):
    import time
    print("at work", flush=True)
    try:
        time.sleep(20)
    except KeyboardInterrupt:
        raise ImportError("numpy failed to import")
"""
BAR = """
def work(arguments):
    import time
    from tqdm import tqdm
    print("at work", flush=True)
    for _ in tqdm(range(1000)):
        time.sleep(0.02)
"""


@pytest.mark.parametrize("moment", [0.08, 0.2, 0.6, 1.2])
@pytest.mark.parametrize("command", [("predict", "a.jpg"), ("convert", "pim-small", "x.pth")])
def test_ctrl_c_while_libraries_load_is_one_line(command, moment, tmp_path):
    shutil.copy(CASES / "B24_encoding/a.jpg", tmp_path)
    process = start(*command, cwd=tmp_path)
    status, _, err, seconds = interrupt(process, moment)
    if b"Traceback" in err and b"run_guarded" not in err:
        pytest.skip("before Python had read as much of pimjax as catches it")
    assert status in (INTERRUPTED, 0) and seconds < 5  # a quick machine may have converted
    assert err in (b"interrupted\n", b"interrupted; the same command resumes\n") or status == 0


def test_ctrl_c_during_compilation_is_one_line_and_the_command_resumes(tmp_path):
    shutil.copy(CASES / "B24_encoding/a.jpg", tmp_path)
    process = start("predict", "a.jpg", cwd=tmp_path, JAX_COMPILATION_CACHE_DIR="")
    assert process.stdout.readline().startswith(b"score")
    status, _, err, seconds = interrupt(process, 0.3)
    assert (status, err) == (INTERRUPTED, b"interrupted; the same command resumes\n") and seconds < 10


@pytest.mark.parametrize("work", [STUBBORN, THREADS, WRAPPED, BAR], ids=["stubborn", "threads", "wrapped", "bar"])
@pytest.mark.parametrize(("room", "command"), [("predict", "predict"), ("data", "check-data"), ("bench", "bench")])
def test_ctrl_c_ends_whatever_is_done(work, room, command):
    function = f"_{command.replace('-', '_')}"
    words = () if command == "bench" else ("x",)
    process = start(command, *words, prelude=work + WAITING.format(room, function))
    assert process.stdout.readline() == b"at work\n"
    status, _, err, seconds = interrupt(process, 0.2)
    assert status == INTERRUPTED and seconds < 5
    last = err.decode().rstrip("\n").split("\n")[-1]
    assert last == ("interrupted; the same command resumes" if command == "predict" else "interrupted")
    assert "Traceback" not in err.decode() and (work == BAR or err.count(b"\n") == 1)


def test_a_second_ctrl_c_ends_at_once():
    process = start("predict", "x", prelude=STUBBORN + WAITING.format("predict", "_predict"))
    assert process.stdout.readline() == b"at work\n"
    os.killpg(process.pid, signal.SIGINT)
    status, _, err, seconds = interrupt(process, 0.2)
    assert status == INTERRUPTED and seconds < 1.5 and err.count(b"\n") == 1


def test_ctrl_c_in_training_before_it_starts_is_one_line(tmp_path):
    process = start("--config", ROOT / "configs/demo.py", script=str(ROOT / "train.py"), cwd=tmp_path)
    status, _, err, _ = interrupt(process, 0.5)
    assert status == INTERRUPTED and err.startswith(b"interrupted") and err.count(b"\n") == 1


def test_a_reader_that_leaves_is_no_error(tmp_path):
    shutil.copy(CASES / "B24_encoding/a.jpg", tmp_path)
    for command in (("check-data", "folder:."), ("report", "none"), ("--help",)):
        process = start(*command, cwd=tmp_path)
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(timeout=60) in (READER_GONE, 0, 1)
        assert b"Broken" not in err and b"Exception" not in err and b"Traceback" not in err


def test_what_ends_a_command_from_outside_is_one_line(capsys, monkeypatch):
    import pimjax.cli.data as data

    for error, words in (
        (MemoryError("Unable to allocate 10 GiB"), "error: out of memory (Unable to allocate 10 GiB); "),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), "error: out of memory (RESOURCE_EXHAUSTED"),
        (RecursionError("maximum recursion depth exceeded"), "error: maximum recursion depth exceeded: "),
        (ValueError("x.jpg: wrong\nerror: forged"), r"error: x.jpg: wrong\nerror: forged"),
        (SystemExit("error: a\033[2J"), r"error: a\x1b[2J"),
    ):
        monkeypatch.setattr(data, "_check_data", lambda _, error=error: (_ for _ in ()).throw(error))
        assert main(["check-data", "folder:."]) == 1
        (line,) = capsys.readouterr().err.strip().split("\n")
        assert line.startswith(words)
    for error, status in ((KeyboardInterrupt(), INTERRUPTED), (BrokenPipeError(), READER_GONE)):
        monkeypatch.setattr(data, "_check_data", lambda _, error=error: (_ for _ in ()).throw(error))
        assert main(["check-data", "folder:."]) == status
    monkeypatch.setattr(data, "_check_data", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # a fault of the program keeps its traceback
        main(["check-data", "folder:."])


def test_instructions_follow_an_error_line_by_line():
    error = FileNotFoundError("there is no folder a\nb")
    error.add_note("Layout:\n  images/")
    assert explain(error) == ["error: there is no folder a\nb", "Layout:", "  images/"]
    assert explain(KeyError("x")) == []


# check.png


def test_pictures_of_a_check_have_names():
    from pimjax.data.registry import load_source
    from pimjax.data_checks.facts import read_all_facts

    source = load_source(f"folder:{CASES / 'B24_encoding'}")
    facts = list(read_all_facts(source))
    sheet = checked_sheet(source, facts)
    cell, top = 220, 6 + 22
    caption = sheet[top + cell : top + cell + 22]
    assert (caption < 128).any()
    other = checked_sheet(source, [fact.__class__(**vars(fact) | {"id": "another.jpg"}) for fact in facts])
    assert (other[top + cell : top + cell + 22] != caption).any()


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a.jpg", "a.jpg"), ("Ärger é.jpg", "Arger e.jpg"), ("照片.jpg", r"\u7167\u7247.jpg"), ("b\nc", r"b\nc")],
)
def test_names_on_pictures_are_drawable(name, shown):
    assert _drawable(name) == shown
    assert _shortened(name, 1000) == shown


def test_long_names_on_pictures_lose_their_middle():
    name = "a" * 50 + "unheard of" + "z" * 50 + ".jpg"
    short = _shortened(name, 220)
    assert short.startswith("aaaa") and short.endswith("zz.jpg") and "..." in short and len(short) < 50
    assert _shortened("x" * 500, 3) == "..."
