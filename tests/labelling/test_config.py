import pytest
import yaml
from conftest import ROOT

from prefloop.errors import UserError
from prefloop.labelling.schemas.settings import SettingsIn
from prefloop.labelling.server.config import KEYS, LabellingConfig, SettingsFile, as_yaml, read


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labelling.yaml"


def test_a_missing_file_is_written_with_every_key_explained(path):
    assert SettingsFile(path).current == LabellingConfig() == read(path)
    text = path.read_text(encoding="utf-8")
    for name, key in KEYS.items():
        assert f"# {key.metadata['help']}\n{name}: " in text


def test_what_is_written_is_read(path):
    config = LabellingConfig(
        allow_ties=False, frames_per_second=12.5, repeats=0.1, lease_seconds=60
    )
    path.write_text(as_yaml(config), encoding="utf-8")
    assert read(path) == config


def test_an_empty_file_has_the_defaults(path):
    path.write_text("# nothing\n", encoding="utf-8")
    assert read(path) == LabellingConfig()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("allow_ties: true\nplayback_speed: 50\n", 2, "playback_speed must be between 0.1 and 10, not 50"),
        ("# one\n\nallow_ties: maybe\n", 3, "allow_ties must be true or false, not 'maybe'"),
        ("cache_size_mb: 12.5\n", 1, "cache_size_mb must be a whole number, not 12.5"),
        ("repeats: .nan\n", 1, "repeats must be between 0 and 1, not nan"),
        ("lease_seconds: true\n", 1, "lease_seconds must be a number, not True"),
        ("max_queries_per_annotator: []\n", 1, "must be a whole number or null"),
        ("allow_tie: true\n", 1, "no setting 'allow_tie'; choose from allow_ties"),
        ("allow_ties: true\nallow_ties: false\n", 2, "second time"),
        ("[1]: 2\n", 1, "no setting"),
        ("allow_ties: [true\nx: 1\n", 2, "flow sequence|expected"),
        ("- allow_ties\n", 1, "key: value"),
        ("allow_ties: !!python/object/apply:os.system ['true']\n", 1, "must be true or false"),
        ("repeats: !!timestamp nonsense\n", 1, "repeats must be a number"),
    ],
)  # fmt: skip
def test_a_bad_value_names_its_file_and_line(path, text, line, words):
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=words) as error:
        read(path)
    assert f"labelling.yaml, line {line}: " in str(error.value)


def test_a_file_that_is_no_settings_ends_in_a_sentence(path):
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no text"):
        read(path)
    path.write_text("a" * 200_000, encoding="utf-8")
    with pytest.raises(UserError, match="too large"):
        read(path)
    path.write_text("[" * 50_000, encoding="utf-8")
    with pytest.raises(UserError, match=r"labelling\.yaml"):
        read(path)


def test_changing_settings(path):
    file = SettingsFile(path)
    file.change({"allow_ties": False, "max_queries_per_annotator": 5})
    assert (read(path).allow_ties, read(path).max_queries_per_annotator) == (False, 5)
    with pytest.raises(ValueError, match="repeats must be between"):
        file.change({"repeats": 2.0})
    with pytest.raises(ValueError, match="only be changed in the file"):
        file.change({"settings_locked": True})
    assert file.current == read(path)


def test_locked_settings_stay(path):
    path.write_text("settings_locked: true\n", encoding="utf-8")
    with pytest.raises(UserError, match="locked"):
        SettingsFile(path).change({"allow_ties": False})
    assert path.read_text(encoding="utf-8") == "settings_locked: true\n"


def test_what_is_written_into_the_file_by_hand_holds_at_once_and_is_kept(path):
    file = SettingsFile(path)
    path.write_text(as_yaml(LabellingConfig(lease_seconds=30)), encoding="utf-8")
    assert file.current.lease_seconds == 30
    assert file.change({"playback_speed": 2.0}) == read(path)
    assert (file.current.lease_seconds, file.current.playback_speed) == (30, 2.0)
    path.write_text(as_yaml(LabellingConfig(settings_locked=True)), encoding="utf-8")
    with pytest.raises(UserError, match="locked"):
        file.change({"allow_ties": False})
    assert read(path).settings_locked
    path.unlink()
    assert file.current.settings_locked


def test_a_mistake_in_the_file_changes_nothing_and_is_not_overwritten(path, caplog):
    file = SettingsFile(path)
    file.change({"repeats": 0.5})
    path.write_text("repeats: 7\n", encoding="utf-8")
    assert file.current.repeats == 0.5
    assert "line 1: repeats must be between 0 and 1" in caplog.text
    for _ in range(2):
        with pytest.raises(UserError, match="line 1: repeats"):
            file.change({"allow_ties": False})
    assert path.read_text(encoding="utf-8") == "repeats: 7\n"


def test_the_page_can_change_every_key_but_the_lock():
    assert set(SettingsIn.model_fields) == set(KEYS) - {"settings_locked"}


def documented(key):
    """A key's row in the table of docs/labelling.md."""
    low, high = key.metadata["low"], key.metadata["high"]
    default = yaml.safe_dump(key.default).partition("\n")[0]
    bounds = "true, false" if low is None else f"{low:,} to {high:,}"
    return f"| `{key.name}` | {default} | {bounds} | {key.metadata['help']} |"


def test_the_documentation_has_every_key():
    page = (ROOT / "docs" / "labelling.md").read_text(encoding="utf-8")
    table = [
        "| key | default | values | what |",
        "|---|---|---|---|",
        *map(documented, KEYS.values()),
    ]
    assert "\n".join(["", *table, ""]) in page


def test_the_file_says_where_its_keys_are_described(path):
    SettingsFile(path)
    assert path.read_text(encoding="utf-8").startswith(
        "# Settings of the labelling page; what they mean: docs/labelling.md, Settings.\n"
    )
