"""What a program printed, as a person may be shown it: the last lines, without what steers a terminal.

Pure; what is printed is a workload's own and may be anything. Next: :mod:`reconciler.controllers.logs`.
"""

import re
import unicodedata
from typing import Final

# Control sequences, control strings and two-character escapes; what was cut off in the middle goes too.
# Source: ECMA-48 sections 5.4 (CSI), 5.6 (OSC, DCS, PM, APC, SOS) and 5.3.
_ESCAPES: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?|\x1b[\]PX^_][^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?|\x1b[ -/]*[0-~]?"
)
_KEPT: Final = "\n\t"
_DROPPED: Final = {
    code: None
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000))
    if unicodedata.category(chr(code)) in ("Cc", "Cs") and chr(code) not in _KEPT
}


def readable_tail(printed: str, *, lines_max: int, bytes_max: int) -> str:
    """The last ``lines_max`` lines within ``bytes_max`` of UTF-8, from the beginning of a line if one fits.

    Only newline and tab steer it. Of a line that was written over (a progress bar) the last state is left.
    """
    lines = _ESCAPES.sub("", printed).rstrip().split("\n")[-lines_max:]
    text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines).translate(_DROPPED)
    encoded = text.encode()
    if len(encoded) <= bytes_max:
        return text
    cut = encoded[-bytes_max:].decode(errors="ignore")
    _, _, whole_lines = cut.partition("\n")
    return whole_lines or cut
