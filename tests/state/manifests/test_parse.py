"""A file's text becomes objects, or problems that a person can mend."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from state.kinds.access_policy import RULES_COUNT_MAX, AccessPolicy, Role
from state.kinds.app import App
from state.kinds.template import ContainerTemplate
from state.kinds.user_container import DATA_FINALIZER, Power, UserContainer
from state.manifests.folder import FolderReader
from state.manifests.parse import parse_manifest
from state.manifests.problem import ManifestError
from tests.state.manifests.rig import ALIAS_BOMB, app, parsed, policy, problems, template, together, user

DESIGN = """
    apiVersion: mcp-gateway/v1
    kind: ContainerTemplate
    metadata: {name: getgather}
    spec:
      image: ${CONTAINER_IMAGE}
      pull: IfNotPresent
      port: 23456
      env: {PORT: "23456", DATA_DIR: /app/data}
      data: {mountPath: /app/data, retainDays: 30}
      resources: {memory: 1Gi, cpus: 1, pids: 512, shm: 256Mi}
      probes:
        startup:  {http: /health, periodSeconds: 1, timeoutSeconds: 60}
        liveness: {http: /health, periodSeconds: 15, failures: 3}
      routes:
        - {path: /mcp, match: prefix, access: owner, protocol: mcp}
        - {path: /live, access: owner}
        - {path: /dpage, access: link}
        - {path: /__static, access: any}
      standby: {count: 2, maxRefillPerMinute: 30}
      idle: {pauseAfter: 10m, checkpointAfter: 30m, stopAfter: 1h}
      rollout: {maxUnavailable: 10%, drainTimeout: 30m, progressDeadline: 2m, onFailure: Rollback}
      security: {user: "1000", readOnlyRoot: false, capAdd: [], egress: Internet, runtime: ""}
    ---
    kind: UserContainer
    metadata: {name: alice}
    spec: {user: "github:583231", template: getgather, power: Auto, overrides: {resources: {memory: 2Gi}}}
    ---
    kind: AccessPolicy
    metadata: {name: default}
    spec:
      rules:
        - {provider: google, emailDomain: example.com, template: getgather, role: admin}
        - {provider: github, organization: acme, template: getgather}
        - {provider: any, allow: false}
"""


def test_the_designs_manifest_is_understood() -> None:
    getgather, alice, default = (one.resource for one in parsed(DESIGN))
    assert isinstance(getgather, ContainerTemplate)
    assert isinstance(alice, UserContainer)
    assert getgather.spec.image == "demo:1"
    assert getgather.spec.resources.memory == 1 << 30
    assert getgather.spec.idle.stop_after == 3600
    assert alice.spec.overrides.resources.memory == 2 << 30
    assert alice.metadata.managed_by == "file:team.yaml"
    assert isinstance(default, AccessPolicy)
    assert [rule.allow for rule in default.spec.rules] == [True, True, False]
    assert default.spec.rules[0].role is Role.ADMIN


@pytest.mark.parametrize(
    ("written", "meant"),
    [("None", "None"), ('"None"', "None"), ("'None'", "None"), ("Proxy", "Proxy"), ("Internet", "Internet")],
)
def test_a_way_out_is_understood_with_quotes_and_without(written: str, meant: str) -> None:
    (demo,) = parsed(_spec(f"security: {{egress: {written}}}"))
    assert isinstance(demo.resource, ContainerTemplate)
    assert demo.resource.spec.security.egress == meant


@pytest.mark.parametrize("written", ["null", "~", "none", "no"])
def test_what_only_looks_like_no_way_out_is_refused(written: str) -> None:
    (problem,) = problems(_spec(f"security: {{egress: {written}}}"))
    assert (problem.place.line, "None" in problem.mend) == (6, True)


def test_a_user_container_of_a_file_has_the_finalizer_that_keeps_its_data() -> None:
    (alice,) = parsed(user("alice"))
    assert alice.resource.metadata.finalizers == (DATA_FINALIZER,)


def test_an_app_is_understood() -> None:
    (shop,) = parsed(app("shop"))
    assert isinstance(shop.resource, App)


@pytest.mark.parametrize(
    "text",
    ["", "\n", "# only words\n", "---\n---\n", "~\n"],
    ids=["empty", "a line", "comment", "marks", "null"],
)
def test_a_file_without_documents_declares_nothing(text: str) -> None:
    assert parsed(text) == ()


@dataclass(frozen=True)
class Refused:
    """A text, and what its first problem has to say where."""

    because: str
    text: str | bytes
    line: int
    says: str
    mend: str


def _spec(spec: str) -> str:
    return f"kind: ContainerTemplate\nmetadata: {{name: demo}}\nspec:\n  image: a\n  port: 80\n  {spec}\n"


def _overrides(overrides: str) -> str:
    spec = f'{{user: "github:1", template: demo, overrides: {overrides}}}'
    return f"kind: UserContainer\nmetadata: {{name: alice}}\nspec: {spec}\n"


REFUSED = [
    Refused("a bracket is never closed", "kind: [\n", 1, "no valid YAML", "save the whole file"),
    Refused("the file was saved by half", user("alice")[:-20], 3, "no valid YAML", "save the whole file"),
    Refused(
        "a quote is never closed", "kind: App\nmetadata: {name: 'a\n", 2, "no valid YAML", "save the whole"
    ),
    Refused("a tab indents", "spec:\n\timage: a\n", 2, "no valid YAML", "never with tabs"),
    Refused("a variable stands bare in braces", "spec: {image: ${X}}", 1, "no valid YAML", "quotes"),
    Refused("a key stands twice", "kind: App\nmetadata: {}\nkind: App\n", 3, "first in line 1", "keep one"),
    Refused("an alias bomb", ALIAS_BOMB, 6, "200000 values", "split"),
    Refused("more aliases than needed", f"a: &a 1\nb: [{'*a,' * 101}]", 2, "100 aliases", "write the values"),
    Refused("an alias repeats itself", "a: &a [*a]\n", 1, "no finished anchor", "before it"),
    Refused("an alias names nothing", "a: *b\n", 1, "no finished anchor", "before it"),
    Refused("an alias of another document", "a: &a 1\n---\nb: *a\n", 3, "no finished anchor", "before it"),
    Refused("nested without end", "[" * 5000, 1, "deeper than 32", "flatten"),
    Refused("too many values", "[" + "1," * 200_001 + "]", 1, "200000 values", "split"),
    Refused("too large", "#" * (1 << 20) + "\n", 1, "larger than 1 MiB", "split"),
    Refused("not UTF-8", b"kind: App\nname: \xff\n", 2, "not UTF-8", "UTF-8"),
    Refused("UTF-16 as an old editor saves it", "kind: App".encode("utf-16"), 1, "not UTF-8", "UTF-8"),
    Refused("a byte order mark", "\ufeffkind: App\n", 1, "byte order mark", "without one"),
    Refused("a control character", "kind: App\nname: a\x07b\n", 2, "U+0007", "remove it"),
    Refused("NUL by an escape", 'kind: App\nname: "a\\0b"\n', 2, "NUL", "remove"),
    Refused("a tag that runs code", "kind: !!python/name:os.system x\n", 1, "python/name", "remove it"),
    Refused("a tag of its own", "kind: !secret x\n", 1, "!secret", "remove it"),
    Refused("a binary tag", "kind: !!binary aGk=\n", 1, "!!binary", "remove it"),
    Refused("a key that is a list", "? [a]\n: b\n", 1, "a key is a list", "plain word"),
    Refused("a list for a document", "- kind: App\n", 1, "no mapping", "begin it with kind"),
    Refused("a word for a document", "hello\n", 1, "no mapping", "begin it with kind"),
    Refused("no kind", "metadata: {name: a}\n", 1, "kind is missing", "ContainerTemplate"),
    Refused("a kind that is a list", "kind: [App]\n", 1, "kind takes a word", "App"),
    Refused("a kind misspelt", "kind: UserContainers\n", 1, "unknown kind", "did you mean UserContainer?"),
    Refused("a kind of something else", "kind: Deployment\n", 1, "unknown kind", "write one of"),
    Refused("a kind of the processes", "kind: Home\n", 1, "by the processes alone", "remove"),
    Refused("an account", "kind: Account\n", 1, "by the processes alone", "remove"),
    Refused("another version", "apiVersion: v1\n" + user("a"), 1, "apiVersion", "'mcp-gateway/v1'"),
    Refused("no spec", "kind: App\nmetadata: {name: a}\n", 1, "spec is missing", "add it"),
    Refused("a name that is no label", user("Alice"), 2, "metadata.name", "DNS label"),
    Refused(
        "more metadata", "kind: App\nmetadata: {name: a, uid: x}\nspec: {}\n", 2, '"uid"', "known here: name"
    ),
    Refused("a status", user("alice") + "status: {}\n", 4, '"status"', "written by the reconciler"),
    Refused("a field misspelt", _spec("resources: {memroy: 1Gi}"), 6, '"memroy"', 'did you mean "memory"?'),
    Refused(
        "a field that is needed misspelt",
        'kind: UserContainer\nmetadata: {name: a}\nspec: {user: "github:1", tempalte: demo}\n',
        3,
        '"tempalte"',
        'did you mean "template"?',
    ),
    Refused("snake case", _spec("data: {mount_path: /a}"), 6, '"mount_path"', 'did you mean "mountPath"?'),
    Refused("a merge key", _spec("<<: {}"), 6, '"<<"', "merge keys"),
    Refused("a number where a string is", _spec("env: {PORT: 80}"), 6, "spec.env.PORT", "in quotes"),
    Refused(
        "a string where a number is",
        _spec("standby: {count: '2'}"),
        6,
        "spec.standby.count",
        "without quotes",
    ),
    Refused("a power that YAML 1.1 reads as no", user("a", power="Off"), 3, '"Off"', "'Stopped'"),
    Refused(
        "a bool that YAML 1.1 knows", _spec("security: {readOnlyRoot: yes}"), 6, '"yes"', "true or false"
    ),
    Refused("an octal number", _spec("resources: {pids: 0100}"), 6, '"0100"', "whole number"),
    Refused(
        "a sexagesimal number", _spec("data: {mountPath: /a, retainDays: 1:30}"), 6, '"1:30"', "whole number"
    ),
    Refused(
        "a number out of bounds", _spec("resources: {pids: 4}"), 6, "spec.resources.pids", "or equal to 8"
    ),
    Refused("infinity", _spec("resources: {cpus: .inf}"), 6, "spec.resources.cpus", "number"),
    Refused("a duration in words", _spec("idle: {stopAfter: 1 hour}"), 6, "spec.idle.stopAfter", "1h30m"),
    Refused("a size in words", _spec("resources: {memory: 1 GB}"), 6, "spec.resources.memory", "512Mi"),
    Refused(
        "a size without bounds", _spec(f"resources: {{shm: '{'9' * 400}'}}"), 6, "spec.resources.shm", "512Mi"
    ),
    Refused("a route of a foreign method", _spec("routes: [{path: /a, access: all}]"), 6, '"all"', "'any'"),
    Refused(
        "MCP for everybody",
        _spec("routes: [{path: /a, access: any, protocol: mcp}]"),
        6,
        "needs access owner",
        "",
    ),
    Refused(
        "a link's id where there are no links",
        _spec("routes: [{path: /a, linkId: last}]"),
        6,
        "needs access link",
        "",
    ),
    Refused("a route twice", _spec("routes: [{path: /a}, {path: /a}]"), 4, "stands twice", "keep one"),
    Refused(
        "neither percent nor number", _spec("rollout: {maxUnavailable: some}"), 6, "maxUnavailable", ", or "
    ),
    Refused("a list for a mapping", _spec("env: []"), 6, "spec.env takes a mapping", "mapping"),
    Refused("nothing where something is", _overrides("{image: , env: }"), 3, "spec.overrides.env", "mapping"),
    Refused("an input misspelt", _spec("inputs: [{name: A, titel: a}]"), 6, "titel", "title"),
    Refused("an input without a title", _spec("inputs: [{name: A}]"), 6, "title is missing", "add it"),
    Refused(
        "inputs of one name", _spec("inputs: [{name: A, title: a}, {name: A, title: b}]"), 4, "twice", "keep"
    ),
    Refused(
        "a pattern that is none",
        _spec("inputs: [{name: A, title: a, pattern: '('}]"),
        6,
        "pattern",
        "write one",
    ),
    Refused("a variable that is not set", _spec("command: ['${NO_SUCH}']"), 6, "${NO_SUCH}", "set NO_SUCH"),
    Refused(
        "a variable misspelt", _spec("command: ['${CONTAINER_IMAG}']"), 6, "not set", "${CONTAINER_IMAGE}?"
    ),
    Refused("a variable without an end", _spec("command: ['${CONTAINER_IMAGE']"), 6, "not complete", "$${"),
    Refused("an object twice", together(user("a"), user("a", of="b")), 5, "first in line 1", "keep one"),
    Refused(
        "two of a user and template",
        together(user("a"), user("b", of="a")),
        5,
        "user and template",
        "keep one",
    ),
    Refused("two of a key", together(app("a"), app("b")), 5, "its key", "keep one"),
    Refused(
        "a policy without rules", policy().replace("  rules: []", "  {}"), 4, "rules is missing", "add it"
    ),
    Refused(
        "a condition misspelt", policy("{provider: github, orgnization: a}"), 4, "rules[0]", '"organization"?'
    ),
    Refused("an organization of nobody's", policy("{organization: a}"), 4, "GitHub's", "provider: github"),
    Refused(
        "a refusal that gives a role",
        policy("{provider: any}", "{provider: any, allow: false, role: admin}"),
        4,
        "rules[1]: a rule with allow: false",
        "leave them out",
    ),
    Refused("a rule for whomever", policy("{template: demo}"), 4, "speaks of everybody", "provider: any"),
    Refused(
        "a condition left blank",
        policy("{provider: github, organization: }"),
        4,
        "organization is left blank",
        "remove it",
    ),
    Refused("a list without users", policy("{provider: any, users: []}"), 4, "users is left blank", "remove"),
    Refused("a domain with its @", policy("{emailDomain: '@a.b'}"), 4, "emailDomain", "like example.com"),
    Refused("a team alone", policy("{provider: github, team: a}"), 4, '"a" does not', "acme/developers"),
    Refused(
        "a role that nobody has", policy("{provider: any, role: root}"), 4, '"root"', "'user' or 'admin'"
    ),
    Refused(
        "more rules than there may be",
        policy(*["{provider: any}"] * (RULES_COUNT_MAX + 1)),
        4,
        f"has {RULES_COUNT_MAX + 1} entries",
        f"{RULES_COUNT_MAX} at most",
    ),
    Refused("a policy twice", together(policy(), policy()), 6, "first in line 1", "keep one"),
]


@pytest.mark.parametrize("case", REFUSED, ids=[case.because for case in REFUSED])
def test_is_refused_with_line_reason_and_mend_when(case: Refused) -> None:
    raw = case.text.encode() if isinstance(case.text, str) else case.text
    with pytest.raises(ManifestError) as refusal:
        parse_manifest("team.yaml", raw, {"CONTAINER_IMAGE": "demo:1"})
    first = refusal.value.problems[0]
    assert first.place.file == "team.yaml"
    assert first.place.line == case.line
    assert case.says in first.what
    assert case.mend in first.mend
    assert str(first).startswith(f"team.yaml:{case.line}:" if case.line else "team.yaml: ")


@pytest.mark.parametrize("case", REFUSED, ids=[case.because for case in REFUSED])
def test_pyyamls_own_parser_refuses_it_too_when(case: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("state.manifests.tree._PARSER", yaml.SafeLoader)
    assert problems(case.text.encode() if isinstance(case.text, str) else case.text)


def test_pyyamls_own_parser_understands_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = parsed(DESIGN)
    monkeypatch.setattr("state.manifests.tree._PARSER", yaml.SafeLoader)
    assert parsed(DESIGN) == fast


def test_the_example_of_a_policy_is_understood_and_read_by_nobody_yet() -> None:
    path = Path(__file__).parents[3] / "manifests" / "access.yaml.example"
    (one,) = parse_manifest("access.yaml", path.read_bytes(), {})
    assert isinstance(one.resource, AccessPolicy)
    read = FolderReader(path.parent, {"CONTAINER_IMAGE": "demo:1"}).read()
    assert not any(file.path.startswith("access.") for file in read.files)


def test_every_problem_of_every_document_is_told_at_once() -> None:
    found = problems(together(user("Alice"), "kind: Nothing\n", template(), user("bob", power="off")))
    assert [problem.place.line for problem in found] == [2, 5, 13]


def test_several_missing_fields_of_one_mapping_are_each_told() -> None:
    found = problems("kind: UserContainer\nmetadata: {name: a}\nspec: {}\n")
    assert [problem.what for problem in found] == ["spec.template is missing", "spec.user is missing"]


def test_what_a_problem_quotes_is_never_a_value_of_env_or_a_user() -> None:
    found = problems(together(_spec("env: {TOKEN: 1234567890}"), user("a", of="who@example.com!")))
    assert len(found) == 2
    assert not any("1234567890" in str(problem) or "example.com" in str(problem) for problem in found)


@pytest.mark.parametrize(
    "field", ["email: carol", "emailDomain: carol@b.c", "users: [carol]", "users: carol"]
)
def test_what_a_problem_quotes_is_never_whom_a_rule_is_about(field: str) -> None:
    (found,) = problems(policy(f"{{provider: any, {field}}}"))
    assert field.partition(":")[0] in found.what
    assert "carol" not in str(found)


@dataclass(frozen=True)
class Reads:
    """How a value of ``env`` comes out. It stands in the manifest just as ``written``."""

    because: str
    written: str
    value: str


READS = [
    Reads("on is a word", "on", "on"),
    Reads("No is a word", "No", "No"),
    Reads("a time is a word", "1:30", "1:30"),
    Reads("a leading zero is no number", "0123", "0123"),
    Reads("hexadecimal is no number", "0x1f", "0x1f"),
    Reads("underscores are no number", "1_000", "1_000"),
    Reads("a version is a word", "1.2.3", "1.2.3"),
    Reads("a date is a word", "2026-01-02", "2026-01-02"),
    Reads("an equals sign is a word", "=", "="),
    Reads("a quoted number is a string", "'5'", "5"),
    Reads("a tagged number is a string", "!!str 5", "5"),
    Reads("a quoted nothing is an empty string", '""', ""),
    Reads("a variable is filled in", '"<${CONTAINER_IMAGE}>"', "<demo:1>"),
    Reads("two variables are filled in", '"${CONTAINER_IMAGE}${CONTAINER_IMAGE}"', "demo:1demo:1"),
    Reads("what a variable holds is not looked at again", '"${TRICKY}"', "${CONTAINER_IMAGE}: [x]"),
    Reads("a doubled dollar stands for itself", '"$${CONTAINER_IMAGE}"', "${CONTAINER_IMAGE}"),
    Reads("a dollar alone is a dollar", "$HOME", "$HOME"),
    Reads("an alias repeats its anchor", "*image", "again"),
]


@pytest.mark.parametrize("case", READS, ids=[case.because for case in READS])
def test_in_a_string_field(case: Reads) -> None:
    text = (
        "kind: ContainerTemplate\nmetadata: {name: demo}\nspec:\n  image: &image again\n  port: 80\n"
        f"  env:\n    VALUE: {case.written}\n"
    )
    variables = {"CONTAINER_IMAGE": "demo:1", "TRICKY": "${CONTAINER_IMAGE}: [x]"}
    (one,) = parse_manifest("team.yaml", text.encode(), variables)
    assert isinstance(one.resource, ContainerTemplate)
    assert one.resource.spec.env["VALUE"] == case.value


def test_a_bare_variable_may_be_a_number() -> None:
    text = "kind: ContainerTemplate\nmetadata: {name: demo}\nspec: {image: a, port: 80, command: []}\n"
    (one,) = parse_manifest("a.yaml", text.replace("80", "80\n  , standby: {count: 2}").encode(), {})
    assert isinstance(one.resource, ContainerTemplate)
    block = "kind: ContainerTemplate\nmetadata: {name: demo}\nspec:\n  image: a\n  port: ${PORT}\n"
    (other,) = parse_manifest("a.yaml", block.encode(), {"PORT": "8080"})
    assert isinstance(other.resource, ContainerTemplate)
    assert other.resource.spec.port == 8080


MARKS = [*"{}[]:,'#?%-|\"\n\t\u2028é", "  ", "&a ", "*a", "!!str ", "!x ", "${X}", "$${", "${", "\\0"]
WORDS = ["kind: ", "App", "---\n", "- ", "|\n", "metadata: {name: a}\n", "spec:\n"]
YAML_LIKE = st.lists(st.sampled_from([*MARKS, *WORDS]), max_size=60).map("".join).map(str.encode)
TEXTS = st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.binary(max_size=200), TEXTS, YAML_LIKE))
@example(b'a: "\\ud800"')
@example(b"%YAML 9.9\n---\na: 1")
@example(b"? ? ? a")
def test_no_bytes_raise_anything_but_a_manifest_error(raw: bytes) -> None:
    try:
        found = parse_manifest("any.yaml", raw, {})
    except ManifestError as error:
        assert all(problem.what and problem.mend for problem in error.problems)
    else:
        assert all(one.place.file == "any.yaml" for one in found)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(DESIGN)), st.integers(0, 40))
def test_no_cut_through_a_real_manifest_raises_anything_but_a_manifest_error(start: int, length: int) -> None:
    cut = (DESIGN[:start] + DESIGN[start + length :]).encode()
    try:
        parse_manifest("cut.yaml", cut, {})
    except ManifestError as error:
        assert error.problems


NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
ENV = st.dictionaries(
    st.from_regex(r"[A-Z_][A-Z0-9_]{0,10}", fullmatch=True), st.text(max_size=40), max_size=5
)


@settings(max_examples=200, deadline=None)
@given(NAMES, st.integers(1, 65535), ENV, st.sampled_from(list(Power)))
def test_what_is_written_as_json_reads_as_it_was(
    name: str, port: int, env: dict[str, str], power: Power
) -> None:
    plain = {key: "".join(char for char in value if char.isprintable()) for key, value in env.items()}
    written = {key: value.replace("${", "$${") for key, value in plain.items()}
    documents: list[dict[str, Any]] = [
        {"kind": "ContainerTemplate", "metadata": {"name": name},
         "spec": {"image": "a", "port": port, "env": written}},
        {"kind": "UserContainer", "metadata": {"name": name},
         "spec": {"user": "github:1", "template": name, "power": power}},
    ]  # fmt: skip
    text = "\n---\n".join(json.dumps(document, ensure_ascii=False) for document in documents)
    template_, user_ = (one.resource for one in parse_manifest("a.yaml", text.encode(), {}))
    assert isinstance(template_, ContainerTemplate)
    assert isinstance(user_, UserContainer)
    assert (template_.name, template_.spec.port, template_.spec.env) == (name, port, plain)
    assert user_.spec.power is power
