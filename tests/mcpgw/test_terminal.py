"""A terminal shows what others wrote, and obeys none of it."""

from mcpgw.terminal import aligned, plain

HOSTILE = "a\x1b]52;c;ZXZpbA==\x07b\x9bc\u202ed\re\nf"


def test_control_characters_are_shown_as_such() -> None:
    assert plain(HOSTILE) == "a\ufffd]52;c;ZXZpbA==\ufffdb\ufffdc\ufffdd\ufffde\ufffdf"
    assert plain("a\tb ü") == "a       b ü"


def test_a_cell_stays_in_its_column() -> None:
    assert aligned([("A", "B"), ("x\n\x1b[2J", "y")]).splitlines() == ["A       B", "x\ufffd\ufffd[2J  y"]
