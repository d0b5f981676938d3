"""The operator's verbs about people, typed as an operator does, on a store of their own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
import structlog

from gateway.auth import accounts as accounts_module
from gateway.auth.accounts import Accounts
from gateway.auth.identity import Identity
from gateway.auth.local import local_identity
from mcpgw import verbs
from mcpgw.cli import main
from state.kinds.access_policy import AccessPolicy, AccessPolicySpec
from state.kinds.account import Account, Claims, Decision
from state.kinds.app import App, AppSpec
from state.kinds.resource import Metadata
from state.logs import configure
from state.store import open_store
from state.store.port import Store

T = TypeVar("T")
ALICE = Identity("github", "583231", Claims(login="alice", emails=("alice@example.com", "a@home.example")))
BOB = Identity("google", "107", Claims(login="Bob", emails=()))
CAROL = Identity("oidc", "carol", Claims())
RULES = ({"provider": "google"}, {"emailDomain": "example.com", "template": "big"})


@dataclass
class Desk:
    """An operator's terminal, in a directory with a ``.env``."""

    url: str
    capsys: pytest.CaptureFixture[str]

    def type(self, *words: str) -> tuple[int, str, str]:
        """The exit code, and what the verb says on either stream."""
        code = main(words)
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def lines(self) -> dict[str, str]:
        """What `mcpgw users` says, by user; columns are two spaces apart."""
        code, out, err = self.type("users")
        assert (code, err) == (0, "")
        return {
            line.split()[0]: " | ".join(filter(None, map(str.strip, line.split("  "))))
            for line in out.splitlines()
        }

    def with_store(self, fn: Callable[[Store], Awaitable[T]]) -> T:
        async def run() -> T:
            store = await open_store(self.url)
            try:
                return await fn(store)
            finally:
                await store.close()

        return asyncio.run(run())

    def sign_in(self, *people: Identity) -> None:
        async def run(store: Store) -> None:
            for one in people:
                await Accounts(store, worker="one").remember(one)

        self.with_store(run)

    def write_policy(self, *rules: dict[str, object]) -> None:
        spec = AccessPolicySpec.model_validate({"rules": rules})
        policy = AccessPolicy(metadata=Metadata(name="default"), spec=spec)
        self.with_store(lambda store: store.transact(lambda tx: tx.create(policy), actor="test"))

    def decisions(self) -> dict[str, tuple[Decision, int]]:
        accounts = self.with_store(lambda store: store.read(lambda tx: tx.list(Account)))
        return {one.spec.user: (one.spec.decision, one.spec.epoch) for one in accounts}

    def last_actor(self) -> str:
        return self.with_store(lambda store: store.changes(0, 1000))[-1].actor


def quiet_for_now(level: str, process: str) -> None:
    """As a verb's own process is; other tests' loggers must not remember it."""
    configure(level, process)
    structlog.configure(cache_logger_on_first_use=False)


@pytest.fixture
def desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Desk]:
    for name in ("STORE_URL", "STATE_DIR", "ADMIN_EMAILS", "UNMATCHED_USERS", "DEFAULT_TEMPLATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verbs, "configure", quiet_for_now)
    state = tmp_path / "state"
    settings = (f"STATE_DIR={state}", "ADMIN_EMAILS=A@Home.example", "CONTAINER_IMAGE=demo:1")
    (tmp_path / ".env").write_text("\n".join(settings) + "\n")
    yield Desk(f"sqlite:///{state}/state.db", capsys)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_before_anybody_signed_in_users_says_so(desk: Desk) -> None:
    desk.with_store(lambda store: store.presence())
    assert desk.type("users") == (0, "nobody has signed in yet\n", "")


def test_users_says_of_everybody_what_the_policy_says_now_and_why(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN_EMAILS", "somebody@else.example")
    desk.write_policy(*RULES)
    desk.sign_in(CAROL, BOB, ALICE)
    lines = desk.lines()
    assert list(lines) == ["USER", "github:583231", "google:107", "oidc:carol"]
    alice, bob, carol = (lines[name] for name in ("github:583231", "google:107", "oidc:carol"))
    assert alice.startswith("github:583231 | alice | alice@example.com,a@home.example | 20")
    assert alice.endswith("user, template big | rule 2 of default")
    assert bob.startswith("google:107 | Bob | none | ")
    assert bob.endswith("user, template demo | rule 1 of default")
    assert carol.startswith("oidc:carol | not known | ")
    assert carol.endswith("has to sign in again | rule 2 of default")


def test_users_knows_the_settings(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.sign_in(ALICE, BOB)
    assert desk.lines()["github:583231"].endswith("admin, template demo | ADMIN_EMAILS")
    assert desk.lines()["google:107"].endswith("refused | no rule matches")
    monkeypatch.setenv("UNMATCHED_USERS", "pending")
    assert "waits for approval | no rule matches" in desk.lines()["google:107"]


def test_policies_do_not_speak_of_the_local_developer(desk: Desk) -> None:
    desk.write_policy({"provider": "any", "allow": False})
    desk.sign_in(local_identity())
    assert "user, template demo | a user of App local" in desk.lines()["app:local.developer"]
    app = App(metadata=Metadata(name="local"), spec=AppSpec(key_sha256="a" * 64, template="mine"))
    desk.with_store(lambda store: store.transact(lambda tx: tx.create(app), actor="test"))
    assert "user, template mine | a user of App local" in desk.lines()["app:local.developer"]
    desk.type("ban", "app:local.developer")
    assert "refused | banned" in desk.lines()["app:local.developer"]


def test_where_a_provider_is_configured_the_local_developer_signs_in_no_longer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.sign_in(local_identity())
    monkeypatch.setenv("OAUTH_GITHUB_CLIENT_ID", "ours")
    monkeypatch.setenv("OAUTH_GITHUB_CLIENT_SECRET", "a-secret")
    assert "refused | a provider is configured" in desk.lines()["app:local.developer"]
    code, out, err = desk.type("sign-in-link")
    assert (code, out) == (1, "")
    assert err == "mcpgw: a provider is configured; sign in at http://localhost:9000/\n"


def test_where_others_reach_the_gateway_there_is_no_link(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_BIND", "0.0.0.0:9000")
    code, out, err = desk.type("sign-in-link")
    assert (code, out) == (1, "")
    assert "GATEWAY_BIND=0.0.0.0:9000 lets others in" in err
    assert "OAUTH_" in err


def test_what_a_provider_says_does_not_drive_the_terminal(desk: Desk) -> None:
    desk.sign_in(Identity("oidc", "1", Claims(login="\x1b[2Jx\n", emails=("a@b.example\x07",))))
    code, out, err = desk.type("users")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 2
    assert out.replace("\n", "").isprintable()


def test_approve_ban_and_unban_are_decisions_that_count_at_once(desk: Desk) -> None:
    desk.sign_in(BOB)
    assert desk.type("approve", "google:107") == (
        0,
        "google:107 is approved; now: user, template demo (approved)\n",
        "",
    )
    assert desk.decisions() == {"google:107": (Decision.APPROVED, 1)}
    assert desk.last_actor() == "operator"
    assert desk.type("ban", "google:107") == (0, "google:107 is banned; now: refused (banned)\n", "")
    assert desk.decisions() == {"google:107": (Decision.BANNED, 2)}
    assert desk.type("unban", "google:107") == (
        0,
        "google:107 is no longer banned; now: refused (no rule matches)\n",
        "",
    )
    assert desk.decisions() == {"google:107": (Decision.NONE, 3)}


def test_an_approval_that_a_rule_stands_against_says_so(desk: Desk) -> None:
    desk.write_policy({"users": ["google:107"], "allow": False})
    desk.sign_in(BOB)
    code, out, _ = desk.type("approve", "google:107")
    assert (code, out) == (0, "google:107 is approved; now: refused (rule 1 of default)\n")


def test_approve_lifts_no_ban(desk: Desk) -> None:
    desk.sign_in(BOB)
    desk.type("ban", "google:107")
    assert desk.type("approve", "google:107") == (
        0,
        "google:107 is banned, and an approval lifts no ban: unban first; nothing is changed\n",
        "",
    )
    assert desk.decisions() == {"google:107": (Decision.BANNED, 1)}


def test_unban_takes_no_approval_away(desk: Desk) -> None:
    desk.sign_in(BOB)
    desk.type("approve", "google:107")
    assert desk.type("unban", "google:107") == (0, "google:107 was not banned; nothing is changed\n", "")
    assert desk.decisions() == {"google:107": (Decision.APPROVED, 1)}


@pytest.mark.parametrize("verb", ["approve", "ban", "unban"])
@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("github:58323", "did you mean github:583231?"),
        ("Alice", "did you mean github:583231?"),
        ("ALICE@example.com", "did you mean github:583231?"),
        ("bob", "did you mean google:107?"),
        ("github:9999999999", "`mcpgw users` lists who has"),
        ("\x1b[2J", "`mcpgw users` lists who has"),
    ],
)
def test_whoever_never_signed_in_is_one_line_and_nothing_happens(
    desk: Desk, verb: str, word: str, meant: str
) -> None:
    desk.sign_in(ALICE, BOB)
    code, out, err = desk.type(verb, word)
    assert (code, out) == (1, "")
    assert err == f"mcpgw: {word} has never signed in; {meant}\n".replace("\x1b", "\N{REPLACEMENT CHARACTER}")
    assert set(desk.decisions().values()) == {(Decision.NONE, 0)}


def test_two_of_one_login_are_both_named(desk: Desk) -> None:
    desk.sign_in(ALICE, Identity("oidc", "7", Claims(login="alice")))
    assert "did you mean github:583231 or oidc:7?" in desk.type("ban", "alice")[2]


def test_a_worker_that_does_not_answer_is_told_and_the_decision_stands(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts_module, "BARRIER_S", 0.1)
    desk.sign_in(BOB)
    desk.with_store(lambda store: store.join("deaf", ttl_s=60))
    code, out, err = desk.type("ban", "google:107")
    assert (code, out) == (1, "")
    assert err.startswith("mcpgw: google:107 is banned. Not every part of the gateway has heard of it yet: ")
    assert err.count("\n") == 1
    assert desk.decisions() == {"google:107": (Decision.BANNED, 1)}
