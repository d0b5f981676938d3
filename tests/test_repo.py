"""What must stay true of the project itself: rules are tests."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("gateway", "reconciler", "state", "mcpgw", "demo", "bench")
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 80
LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical"}
# The faults of the fault matrix that this state of the project answers for, and those that only a real engine
# can show.
FAULTS = {*range(1, 8), *range(10, 20), 22, 23, *range(25, 30), 37, 38, 39, 41}
NEGATIVES = set(range(1, 78))  # what has to be refused, by the numbers of the list of negative tests
STARRED_FAULTS = {1, 4, 6, 7, 10, 11, 15, 17, 18, 19, 22, 23, 25, 26, 28, 37, 38}


def tracked() -> list[Path]:
    listed = subprocess.run(
        ("git", "ls-files", "-z"), cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def sources(*folders: str) -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders]


def text_of(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""


def test_no_download_address_stands_in_a_lock() -> None:
    locks = [path for path in tracked() if "lock" in path.name]
    assert locks
    for path in locks:
        found = re.findall(
            r'"resolved": *"https?:|--(?:extra-)?index-url|@ https?:|find-links', text_of(path)
        )
        assert not found, f"{path.name}: {found[:3]}"


def test_every_python_lock_pins_hashes() -> None:
    for path in tracked():
        if path.name.startswith("requirements") and path.suffix == ".lock":
            pins = re.findall(r"^[a-z0-9._-]+(?:\[[a-z,]+\])?==\S+", text_of(path), re.MULTILINE)
            assert len(pins) <= text_of(path).count("--hash=sha256:"), path
            assert pins, path


def test_no_private_path_stands_in_the_project() -> None:
    """Paths below a person's or a work directory are true on one machine only."""
    for path in tracked():
        assert not re.search(r"(?:^|[\s\"'=(])/(?:Users|work)/\w", text_of(path)), path


def test_every_ignored_rule_says_why() -> None:
    for path in sources(*PACKAGES, "tests"):
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if "# noqa" in line and path.name != Path(__file__).name:
                assert re.search(r"# noqa: [A-Z]+\d+(?:, [A-Z]+\d+)* +\W.+", line), (
                    f"{path}:{number} ignores without a reason"
                )


def test_files_stay_small_enough_to_read() -> None:
    for path in sources(*PACKAGES):
        lines = len(text_of(path).splitlines())
        assert lines <= FILE_LINES_MAX, f"{path} has {lines} lines; split it"


def test_functions_stay_small_enough_to_hold_in_mind() -> None:
    for path in sources(*PACKAGES):
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                assert lines <= FUNCTION_LINES_MAX, f"{path}:{node.lineno} {node.name} has {lines} lines"


def test_every_module_says_what_it_is() -> None:
    for path in sources(*PACKAGES):
        assert ast.get_docstring(ast.parse(text_of(path))), f"{path} has no docstring"


def logged_events() -> Iterator[tuple[Path, int, str]]:
    for path in sources("gateway", "reconciler", "state"):
        for node in ast.walk(ast.parse(text_of(path))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            is_log = isinstance(node.func.value, ast.Name) and node.func.value.id in ("_log", "log")
            if is_log and node.func.attr in LOG_METHODS and node.args:
                event = node.args[0]
                value = event.value if isinstance(event, ast.Constant) else "(not constant)"
                yield path, node.lineno, str(value)


def test_setting_up_needs_the_standard_library_alone() -> None:
    """It runs before anything is installed."""
    ours = {"mcpgw"}
    for path in (ROOT / "mcpgw" / "bootstrap").glob("*.py"):
        for name in _imported(path):
            assert name.partition(".")[0] in sys.stdlib_module_names | ours, f"{path.name} imports {name}"


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_nothing_loses_a_cancellation() -> None:
    """Before Python 3.12, asyncio.wait_for swallows one that comes as its future ends; timeout() does not."""
    for path in sources("gateway", "reconciler", "state", "mcpgw", "demo", "bench"):
        assert "wait_for(" not in re.sub(r"def \w*wait_for\(", "", text_of(path)), path


def test_log_events_are_constant_nouns_with_participles() -> None:
    events = list(logged_events())
    assert events
    for path, line, event in events:
        assert re.fullmatch(r"[a-z_]+\.[a-z_]+", event), f"{path}:{line} logs {event!r}"


def test_settings_and_env_template_name_each_other() -> None:
    from gateway.settings import GatewaySettings
    from reconciler.settings import ReconcilerSettings
    from state.settings import setting_names

    written = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", (ROOT / "env.template").read_text(), re.MULTILINE))
    composed = re.findall(r"\$\{([A-Z][A-Z0-9_]+)", (ROOT / "docker-compose.yml").read_text())
    settings = set(setting_names(GatewaySettings, ReconcilerSettings))
    assert written == settings | set(composed) | {"COMPOSE_PROFILES"}


def test_shipped_manifests_are_good() -> None:
    from state.manifests.parse import parse_manifest

    images = {"CONTAINER_IMAGE": "image:1", "DEMO_IMAGE": "demo:1"}
    for path in sorted((ROOT / "manifests").glob("*.yaml")):
        assert parse_manifest(path.name, path.read_bytes(), images)


def test_goals_have_names_of_their_own_and_results_match_them() -> None:
    goals = tomllib.loads((ROOT / "bench" / "goals.toml").read_text())["goal"]
    names = [goal["name"] for goal in goals]
    assert len(names) == len(set(names))
    results = ROOT / "bench" / "results.json"
    if results.exists():
        assert {one["name"] for one in json.loads(results.read_text())} == set(names)


def test_every_fault_that_is_answered_for_has_a_test() -> None:
    missing = FAULTS - marked_faults(sources("tests"))
    assert not missing, f"no test carries {sorted(missing)}"


def test_every_starred_fault_has_a_test_on_a_real_engine() -> None:
    on_engines = [path for path in sources("tests") if "pytestmark = pytest.mark.engine" in text_of(path)]
    missing = STARRED_FAULTS - marked_faults(on_engines)
    assert not missing, f"no test on a real engine carries {sorted(missing)}"


def test_every_negative_of_the_list_has_a_test() -> None:
    texts = map(text_of, sources("tests"))
    marked = {int(number) for text in texts for number in re.findall(r"mark\.negative\((\d+)\)", text)}
    assert marked >= NEGATIVES, f"no test carries {sorted(NEGATIVES - marked)}"


def marked_faults(paths: list[Path]) -> set[int]:
    marks = (match[1] for path in paths for match in re.finditer(r"fault\(([\d, ]+)\)", text_of(path)))
    return {int(number) for mark in marks for number in mark.split(",") if number.strip()}


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md"])
def test_paths_that_the_documents_name_exist(name: str) -> None:
    text = (ROOT / name).read_text()
    for path in re.findall(
        r"`((?:gateway|reconciler|state|mcpgw|tests|bench|docs|manifests|demo)/[\w./]*)`", text
    ):
        assert (ROOT / path).exists(), f"{name} names {path}, which is not there"
