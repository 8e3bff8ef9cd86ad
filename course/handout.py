"""Writes the version that students get: the scripts with blanks, and what they import.

    python -m course.handout --out handout

What students are to write stands between `# BEGIN SOLUTION` and `# END SOLUTION`; `# HINT:` lines
in between stay. Of the library only those modules are handed out that the blanked scripts import.
"""

import argparse
import ast
import functools
import re
import shutil
import textwrap
from pathlib import Path

from prefloop.command_line import command_line
from prefloop.errors import UserError, one_sentence_errors
from prefloop.startup import print_anything

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ("vpg.py", "offline_reward_learning.py", "rollout_policy.py", "utils.py")
OTHERS = ("environment.yml", "constraints.txt", "LICENSE")
BEGIN, END, HINT = "# BEGIN SOLUTION", "# END SOLUTION", "# HINT:"


def blank(source: str, filename: str) -> str:
    """Takes the solutions out of a file.

    A solution inside a function is replaced by its hints and an error that says what is missing;
    one outside any function (imports) is removed.

    Raises:
        UserError: the markers don't pair up.
    """
    lines: list[str] = []
    solution: list[str] | None = None
    start = 0
    for number, line in enumerate(source.splitlines(), start=1):
        if line.strip() == BEGIN:
            if solution is not None:
                raise UserError(f"{filename}:{number}: {BEGIN} inside a solution.")
            solution, start = [], number
        elif line.strip() == END:
            if solution is None:
                raise UserError(f"{filename}:{number}: {END} without {BEGIN}.")
            name = _enclosing_function(source, start)
            if name:
                indent = line[: len(line) - len(line.lstrip())]
                hints = [hint for hint in solution if hint.strip().startswith(HINT)]
                missing = f"{filename}: {name} is yours to write (Part 2)."
                lines += [*hints, f'{indent}raise NotImplementedError("{missing}")']
            solution = None
        elif solution is not None:
            solution.append(line)
        else:
            lines.append(line)
    if solution is not None:
        raise UserError(f"{filename}:{start}: {BEGIN} without {END}.")
    text = "\n".join(lines) + "\n"
    return re.sub(r"\n{4,}", "\n\n\n", text)


def _enclosing_function(source: str, line: int) -> str | None:
    """Name of the function around a line, with its class; None outside functions."""

    def search(node: ast.AST, prefix: str) -> str | None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                assert child.end_lineno is not None
                if child.lineno <= line <= child.end_lineno + 1:
                    found = search(child, f"{prefix}{child.name}.")
                    is_function = isinstance(child, ast.FunctionDef)
                    return found or (f"{prefix}{child.name}" if is_function else None)
        return None

    return search(ast.parse(source), "")


def imported_modules(source: str) -> set[str]:
    """Modules of the library that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.partition(".")[0] == "prefloop"}


def library_files(sources: list[str]) -> list[Path]:
    """Files of the library that these sources reach by import, directly or not; from the root."""
    found: set[Path] = set()
    waiting = {name for source in sources for name in imported_modules(source)}
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        parts = name.split(".")
        # importing a.b.c also runs a and a.b; a name that is no module is a function or class
        packages = [Path(*parts[:i], "__init__.py") for i in range(1, len(parts) + 1)]
        for path in (*packages, Path(*parts).with_suffix(".py")):
            if (ROOT / path).is_file() and path not in found:
                found.add(path)
                waiting |= imported_modules((ROOT / path).read_text(encoding="utf-8")) - seen
    return sorted(found)


def assignment_text() -> str:
    """The part of README.md that students get."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    text = readme.partition("<!-- assignment -->")[2].partition("<!-- /assignment -->")[0]
    return textwrap.dedent(text).lstrip()


def blanked_scripts() -> dict[str, str]:
    """The scripts without what students are to write, by name."""
    return {name: blank((ROOT / name).read_text(encoding="utf-8"), name) for name in SCRIPTS}


@functools.lru_cache
def handed_out() -> dict[Path, Path]:
    """The library's files that students have, and where they stand in the hand-out."""
    return {ROOT / path: path for path in library_files(list(blanked_scripts().values()))}


def build(out: Path) -> list[Path]:
    """Writes the hand-out.

    Returns:
        Its files, relative to `out`.

    Raises:
        UserError: `out` exists and is not an empty directory, or can't be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already; remove it or choose another with --out.")
    texts = blanked_scripts()
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in {**texts, "README.md": assignment_text()}.items():
            (out / name).write_text(text, encoding="utf-8")
        copies = [*map(Path, OTHERS), *library_files(list(texts.values()))]
        for path in copies:
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, out / path)
    except OSError as error:
        raise UserError(f"Can't write the hand-out to {out}: {error.strerror}.") from None
    return sorted([*map(Path, texts), Path("README.md"), *copies])


def main() -> None:
    """Builds the hand-out and says what is in it."""
    print_anything()
    parser = argparse.ArgumentParser(
        description="Writes the students' version of the assignment: solutions replaced by hints."
    )
    parser.add_argument("--out", default="handout", help="a new folder (default: %(default)s)")
    out = Path(parser.parse_args(command_line()).out)
    with one_sentence_errors("course.handout"):
        files = build(out)
        print(f"{out} holds {len(files)} files; students write the blanks in:")
        for path in files:
            text = (out / path).read_text(encoding="utf-8")
            for missing in re.findall(r'NotImplementedError\("(.*?) is yours', text):
                print(f"  {missing}")


if __name__ == "__main__":
    main()
