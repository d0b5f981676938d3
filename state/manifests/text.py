"""The bytes of a file → text that may be YAML: its size, its encoding, its characters.

Next: :mod:`state.manifests.tree`.
"""

import re

from state.manifests.problem import Place, refusal

FILE_BYTES_MAX = 1 << 20

# Source: YAML 1.2.2 §5.1, c-printable.
_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def decoded(file: str, raw: bytes) -> str:
    """The file's text. Raises ManifestError, with the line where there is one to blame."""
    if len(raw) > FILE_BYTES_MAX:
        place = Place(file, raw.count(b"\n", 0, FILE_BYTES_MAX) + 1, 1)
        what = f"larger than {FILE_BYTES_MAX >> 20} MiB, which end here"
        raise refusal(place, what, "split it into several files")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        place = Place(file, raw.count(b"\n", 0, error.start) + 1, 1)
        raise refusal(place, "not UTF-8", "save the file as UTF-8") from None
    if text.startswith("\ufeff"):
        raise refusal(Place(file, 1, 1), "begins with a byte order mark", "save it as UTF-8 without one")
    if bad := _UNPRINTABLE.search(text):
        what = f"holds the control character U+{ord(bad[0]):04X}"
        raise refusal(_place_at(file, text, bad.start()), what, "remove it")
    return text


def is_blank(raw: bytes) -> bool:
    """Whether nothing at all is written there: a file that was cut to nothing, not one commented out."""
    return not raw.strip()


def _place_at(file: str, text: str, index: int) -> Place:
    return Place(file, text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))
