"""Imports go one way, and what is said twice is said alike."""

import ast
import re
import sys
from pathlib import Path

import pytest

import prefloop

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]

# a module may import from its own level and from those after it
LEVELS = [
    {"vpg", "offline_reward_learning", "rollout_policy", "utils", "course", "benchmarks"},
    {"prefloop.cli", "prefloop.__main__"},
    {"prefloop.commands"},
    {"prefloop.sweeps", "prefloop.showing"},
    {"prefloop.training"},
    {"prefloop.labelling"},
    {"prefloop.evaluation", "prefloop.runs"},
    {"prefloop.agents", "prefloop.rewards", "prefloop.queries", "prefloop.teachers"},
    {"prefloop.data", "prefloop.envs", "prefloop.policies", "prefloop.policy_files", "prefloop.squashed_gaussian", "prefloop.encoders", "prefloop.query_strategies"},
    {"prefloop.networks", "prefloop.returns", "prefloop.running_moments", "prefloop.bradley_terry", "prefloop.checkpoints", "prefloop.optimizers", "prefloop.devices", "prefloop.early_stopping", "prefloop.seeding"},
    {"prefloop.tracking"},  # what loops call; here because its names are flags
    {"prefloop.files", "prefloop.errors", "prefloop.startup", "prefloop.settings", "prefloop.command_line", "prefloop.progress", "prefloop.env_ids", "prefloop.run_files", "prefloop.words", "prefloop"},
]  # fmt: skip


def level(module: str) -> int | None:
    """The level of a module of this project; None for anybody else's."""
    while module:
        for i, names in enumerate(LEVELS):
            if module in names:
                return i
        module = module.rpartition(".")[0]
    return None


def sources():
    yield from ROOT.glob("*.py")
    for folder in ("prefloop", "course", "benchmarks"):
        yield from (ROOT / folder).rglob("*.py")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # `from prefloop import runs` imports a module, `from prefloop.runs import start` a name
            yield from (
                f"{node.module}.{alias.name}"
                if (ROOT / str(node.module).replace(".", "/") / f"{alias.name}.py").exists()
                else str(node.module)
                for alias in node.names
            )


def loaded(path):
    """What a module imports when it is loaded: not later, and not for types alone."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return [node.module for node in body if isinstance(node, ast.ImportFrom)]


@pytest.mark.parametrize("path", sorted(sources()), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    own = level(name)
    assert own is not None, f"{name} has no place in LEVELS"
    for imported in imports(path):
        other = level(imported)
        assert other is None or other >= own, f"{name} imports {imported}"


NEIGHBOURS = ["agents", "rewards", "queries", "teachers"]


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_the_parts_of_the_loop_do_not_know_each_other(name):
    others = tuple(f"prefloop.{other}" for other in NEIGHBOURS if other != name)
    for path in (ROOT / "prefloop" / name).glob("*.py"):
        for imported in imports(path):
            assert not imported.startswith(others), f"{path.name} imports {imported}"


# rooms that know nothing of each other, though one stands above the other
APART = [
    ("prefloop.labelling.server", "prefloop.labelling.client"),
    ("prefloop.labelling.client", "prefloop.labelling.server"),
    ("prefloop.training", "prefloop.labelling"),
    ("prefloop.agents", "gymnasium"),  # who steps environments is the loop
    ("prefloop.rewards", "prefloop.policies"),
    ("prefloop.rewards", "prefloop.policy_files"),
    ("prefloop.checkpoints", "prefloop.networks"),  # it rebuilds nothing
]


@pytest.mark.parametrize(("room", "other"), APART)
def test_rooms_that_stay_apart(room, other):
    place = ROOT / room.replace(".", "/")
    files = [place.with_suffix(".py")] if place.with_suffix(".py").exists() else place.rglob("*.py")
    for path in files:
        for imported in imports(path):
            assert not f"{imported}.".startswith(f"{other}."), f"{path.name} imports {imported}"


def test_sweeps_do_not_import_in_circles():
    of = {
        path.stem: {name.rpartition(".")[2] for name in loaded(path) if "prefloop.sweeps" in name}
        for path in (ROOT / "prefloop" / "sweeps").glob("*.py")
    }
    seen: list[str] = []
    while of:
        free = [name for name, needs in of.items() if not needs & of.keys()]
        assert free, f"in a circle: {sorted(of)}"
        seen += free
        of = {name: needs for name, needs in of.items() if name not in free}


def test_the_order_is_noticed():
    assert level("prefloop.evaluation.plots") < level("prefloop.data.rollouts")
    assert level("vpg") < level("prefloop.runs")
    assert level("numpy") is None


def test_conda_and_pip_ask_for_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    assert "name: imitation_learning" in text
    assert f"python{project['requires-python']}" in text
    assert re.findall(r"^ {6}- (.+)$", text, re.MULTILINE) == project["dependencies"]


def test_every_dependency_has_a_tested_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    asked = [*project["dependencies"], *(line for extra in extras for line in extra)]
    names = {re.split(r"[>=<;\[]", line)[0] for line in asked} - {"tomli"}
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert names == set(re.findall(r"^([\w-]+)==", pinned, re.MULTILINE))


def test_the_readme_gives_the_handouts_pip_line():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[>=<]", line)[0] for line in project["dependencies"]]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"pip install --constraint constraints.txt {' '.join(names)}\n" in readme


TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").rglob("*.md"))]


def prose(page):
    """A page without its blocks of code, in which # is a comment and brackets are no links."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(page):
    """Of a page's headings, as GitHub makes them."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading).lower().strip().replace(" ", "-")
        again = sum(
            re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", other) is not None for other in found
        )
        found.append(f"{anchor}-{again}" if again else anchor)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", prose(page)):
        target = page.parent / path if path else page
        assert target.exists(), f"no {path}"
        assert not anchor or anchor in anchors(target), f"no {path}#{anchor}"


def test_anchors_are_githubs(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A `metrics.csv`, twice\n```\n# no heading\n```\n## Costs\n## Costs\n")
    assert anchors(page) == ["a-metricscsv-twice", "costs", "costs-1"]


def test_what_is_cited_is_what_is_installed():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [prefloop.__version__]
    assert re.findall(r"^license: (.+)$", citation, re.MULTILINE) == [project["license"]]


def test_every_folder_of_the_library_is_a_package():
    folders = {path.parent for path in (ROOT / "prefloop").rglob("*.py")}
    assert [str(f) for f in folders if not (f / "__init__.py").exists()] == []


def test_no_two_files_of_tests_have_one_name():
    # pytest imports each by its name alone, and refuses the second in a whole run, not by itself
    names = [path.name for path in (ROOT / "tests").rglob("*.py")]
    assert sorted(names) == sorted(set(names))
