"""How what students hand in is spoiled, and what they get for it."""

import zipfile

from course.sandbox import Limits

LIMITS = Limits(seconds=30)


def spoil(folder, name, old, new):
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))


def scores(checks):
    return {check.name: check.score for check in checks}


def learning(checks):
    return sum(c.score for c in checks if c.name.startswith("learn_reward"))


def network(checks):
    return sum(c.score for c in checks if c.name.startswith("Net "))


def damaged(path, compression):
    """A zip file whose table is whole and whose content is not."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("utils.py", "y" * 10_000)
    content = bytearray(path.read_bytes())
    content[45:65] = b"\xff" * 20
    path.write_bytes(content)
