"""Compiles everything and parses every flag, on each Python from 3.10 to 3.14 that can be found.

    python tests/pythons.py

PyTorch is not needed for that: commands read their flags before they import it. Says which versions
were tried and which could not be had; exit code 1 where one of the former failed.
"""

import compileall
import contextlib
import importlib
import io
import shutil
import subprocess
import sys
import tempfile
import typing
from pathlib import Path

if typing.TYPE_CHECKING:
    from prefloop.settings import Leaf

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
PYODIDE = "pyodide@314.0.7"  # CPython 3.14 for node
GOOD = "compiles, and parses every flag"
SCRIPTS = ("vpg.py", "offline_reward_learning.py", "rollout_policy.py")
PACKAGES = ("numpy", "filelock")  # what reading a command line takes
FOLDERS = ("prefloop", "course", "benchmarks", "tests", "collector")


def find(version: str) -> "str | None":
    """An interpreter of a version: on the PATH, or where pyenv puts it."""
    if f"{sys.version_info[0]}.{sys.version_info[1]}" == version:
        return sys.executable
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    python = str(pyenv[-1]) if pyenv else shutil.which(f"python{version}")
    # pyenv puts a stand-in on the PATH for versions that it has no more
    answers = (
        python and not subprocess.run([python, "-V"], capture_output=True, check=False).returncode
    )
    return python if answers else None


def check(version: str, python: str) -> str:
    """Runs the checks with another interpreter, in an environment of its own with `PACKAGES` alone.

    Returns:
        What went wrong; empty if nothing did.
    """
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        own = Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        for arguments in (["-m", "pip", "install", "-q", *PACKAGES], [__file__, "--here"]):
            result = subprocess.run(
                [str(own), *arguments], capture_output=True, text=True, cwd=ROOT, check=False
            )
            if result.returncode:
                return (result.stdout + result.stderr).strip()
    return ""


def check_in_pyodide() -> "tuple[str, str]":
    """The same in the Python that Pyodide brings, where npm is; without the scripts.

    Returns:
        Its version and what went wrong; both empty where it can't be had.
    """
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        return "", ""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / "tests" / "pyodide.mjs", folder)
        commands = ([npm, "install", "--silent", PYODIDE], [node, "pyodide.mjs", str(ROOT)])
        for command in commands:
            result = subprocess.run(
                command, capture_output=True, text=True, cwd=folder, check=False
            )
            if result.returncode:
                is_missing = command[0] == npm
                return "", "" if is_missing else (result.stdout + result.stderr).strip()
    return result.stdout.split()[-1], ""


def sample(leaf: "Leaf") -> "list[str]":
    """A flag with a value of its type."""
    field = leaf.field
    if field.type is bool:
        return [f"--{leaf.flag}"]
    value_type = (typing.get_args(field.type) or (field.type,))[0]
    choices = field.metadata["choices"]
    value = choices[0] if choices else {int: "3", float: "0.5"}.get(value_type, "3")
    return [value] if field.metadata["positional"] else [f"--{leaf.flag}", value]


def check_here() -> None:
    """Compiles and parses with this interpreter.

    Raises:
        SystemExit: something failed, and is named.
    """
    sys.path.insert(0, str(ROOT))
    from prefloop.cli import COMMANDS
    from prefloop.command_line import parse_settings
    from prefloop.settings import leaves

    folders = [str(ROOT / name) for name in FOLDERS]
    with tempfile.TemporaryDirectory() as cache:
        sys.pycache_prefix = cache
        if not all(compileall.compile_dir(folder, quiet=1) for folder in folders):
            raise SystemExit("does not compile")
    flags = 0
    for name in COMMANDS:
        command = importlib.import_module(f"prefloop.commands.{name.replace('-', '_')}")
        settings = list(leaves(command.Settings))
        line = [word for leaf in settings for word in sample(leaf)]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:  # flags are read in turn: all of them before --help ends the program
                parse_settings(command.Settings, [*line, "--help"], prog=name)
            except SystemExit as end:
                if end.code:
                    raise SystemExit(f"prefloop {name}: {err.getvalue()}") from None
        missing = [leaf.flag for leaf in settings if f"--{leaf.flag}" not in out.getvalue()
                   and not leaf.field.metadata["positional"]]  # fmt: skip
        if missing:
            raise SystemExit(f"prefloop {name} --help lacks {', '.join(missing)}")
        flags += len(settings)
    for script in SCRIPTS:
        result = subprocess.run(
            [sys.executable, str(ROOT / script), "--help"], capture_output=True, text=True, check=False
        )  # fmt: skip
        if result.returncode:
            raise SystemExit(f"{script}: {result.stderr}")
    print(f"{flags} flags of {len(COMMANDS)} commands, and {len(SCRIPTS)} scripts")


def main() -> int:
    """Tries each version; returns the exit code."""
    failed, missing = False, []
    for version in VERSIONS:
        python = find(version)
        if python is None:
            missing.append(version)
            continue
        problem = check(version, python)
        print(f"Python {version}: {problem or GOOD}")
        failed |= bool(problem)
    if missing:
        other, problem = check_in_pyodide()
        failed |= bool(problem)
        for version in missing:
            if problem or other.startswith(f"{version}."):
                print(f"Python {version}, in Pyodide: {problem or GOOD}")
            else:
                print(f"Python {version}: not found on this machine, so not tried")
    return int(failed)


if __name__ == "__main__":
    if "--here" in sys.argv:
        check_here()
    else:
        sys.exit(main())
