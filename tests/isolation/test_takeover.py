"""A gateway that was taken over: whoever has it writes into the store what they like, past every check.

They have the gateway's environment and so the store, and nothing of the reconciler's: neither the engine nor
HOST_DATA_DIR. The reconciler stays within its ceiling, touches nothing foreign and deletes nobody's data.
"""

import hashlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import docker
import pytest

from mcpgw.testing.house import House, until
from mcpgw.testing.workload import user_of
from reconciler.core.addresses import LOOPBACK, own_addresses
from reconciler.core.container import LABEL_NUMBER, Identity, spec_hash
from reconciler.core.target import spec_of
from reconciler.core.zones import zones
from reconciler.engine.hardening import NANOS_PER_CPU
from reconciler.engine.translate import LABEL_ADDRESS
from reconciler.loop.directories import Claim
from state.kinds.app import App
from state.kinds.home import HOSTNAME_BYTES, Home, HomeSpec, HomeStatus, Owner, hostname
from state.kinds.incarnation import Incarnation, IncarnationNames, IncarnationSpec, IncarnationStatus
from state.kinds.request import Request, RequestSpec, Verb
from state.kinds.resource import ConditionType, Metadata
from state.kinds.template import ContainerTemplate, Egress
from state.kinds.user_container import DATA_FINALIZER, Power, UserContainer, UserContainerSpec
from state.store.port import Tx
from tests.e2e.conftest import opened
from tests.e2e.hand import Hand, hand_at
from tests.engines import RealEngine

pytestmark = pytest.mark.engine

CEILING_CONTAINERS = 6
CEILING_CREATES = 30
PACE = 4  # of a house of its own, in a minute
PACE_S_MIN = 30.0  # a minute, less what an engine may take for a creation
CROWD = 300
SWARM = 60
ALWAYS_S = 5.0
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NOTE = "what its owner keeps"
OTHER_PROJECT = "somebody-elses"
FORGED_NUMBER = 7
TEMPLATES: dict[str, dict[str, Any]] = {
    "another image": {"image": "busybox:latest"},
    "an image of the same end": {"image": "evil.example/mcp-gateway-demo:latest"},
    "root": {"security": {"user": "0"}},
    "root by many zeros": {"security": {"user": "000:0"}},
    "every capability": {"security": {"cap_add": ("ALL",)}},
    "the strongest capability": {"security": {"cap_add": ("SYS_ADMIN",)}},
    "another runtime": {"security": {"runtime": "evil"}},
    "all memory": {"resources": {"memory": 1 << 50}},
    "no limit on memory": {"resources": {"memory": 0}},
    "all processors": {"resources": {"cpus": 256.0}},
    "every process": {"resources": {"pids": 65536}},
    "all of the disk": {"resources": {"disk": 1 << 50}},
    "all shared memory": {"resources": {"shm": 1 << 50}},
    "the image's own files": {"data": {"mount_path": "/etc"}},
    "the image's programs": {"data": {"mount_path": "/usr/bin/../../usr/bin"}},
    "the root": {"data": {"mount_path": "//"}},
    "the engine's socket": {"mounts": ({"source": "/var/run/docker.sock", "mount_path": "/s"},)},
    "the host's root": {"mounts": ({"source": "/", "mount_path": "/host"},)},
    "everybody's data": {"mounts": ({"source": "HOMES", "mount_path": "/homes"},)},
}
LAST_GOOD: dict[str, dict[str, Any]] = {
    "root": {"user": "0"},
    "another image": {"image": "busybox:latest"},
    "the strongest capability": {"cap_add": ["SYS_ADMIN"]},
    "another runtime": {"runtime": "evil"},
    "all memory": {"memory_bytes": 1 << 50},
    "no limit on memory": {"memory_bytes": 0},
    "all processors": {"cpus": 256.0},
    "no limit on processors": {"cpus": 0.0},
    "every process": {"pids": 65536},
    "no limit on processes": {"pids": -1},
    "all shared memory": {"shm_bytes": 1 << 50},
    "all of the disk": {"disk_bytes": 1 << 50},
    "the host's root": {"mounts": [["/", "/host", False]]},
    "the engine's socket": {"mounts": [["/var/run/docker.sock", "/s", False]]},
    "the image's own files": {"data_mount_path": "/etc"},
}


@dataclass
class Captured:
    """The house, what is somebody else's on its engine, and Bob's directory, by the host's own eyes."""

    house: House
    hand: Hand
    foreign: dict[str, str]  # name → id

    def write(self, fn: Any) -> Any:
        return self.house.write(fn)

    def data(self, user: str) -> Path:
        home = self.house.home(user)
        assert home is not None
        return self.house.homes / home.name / "data"

    def ours(self) -> list[dict[str, Any]]:
        """As the engine inspects them; what goes away between the two questions is left out."""
        listed = (self._inspected(one["Id"]) for one in self.hand.containers(self.house))
        return [one for one in listed if one is not None]

    def _inspected(self, container_id: str) -> dict[str, Any] | None:
        try:
            return self.hand.inspect(container_id)
        except docker.errors.APIError:
            return None

    def assert_within(self) -> None:
        """No container goes beyond what the reconciler's settings allow; the foreign ones are untouched."""
        found = self.ours()
        runtime = self.hand.inspect(next(iter(self.foreign)))["HostConfig"]["Runtime"]
        assert len(found) <= CEILING_CONTAINERS
        for one in found:
            told = one["HostConfig"]
            assert one["Config"]["Image"].removeprefix("localhost/") == self.house.image
            assert not told["Privileged"]
            assert not told["CapAdd"]
            assert one["Config"]["User"].split(":")[0].strip("0")
            assert 0 < told["Memory"] <= 4 << 30
            assert 0 < told["PidsLimit"] <= 4096
            assert 0 < told["NanoCpus"] <= 4 * NANOS_PER_CPU
            assert 0 < told["ShmSize"] <= 1 << 30
            assert told["MemorySwap"] == told["Memory"], "no swap on top"
            assert told["CapDrop"]
            assert told["RestartPolicy"]["Name"] in ("", "no")
            assert not told["GroupAdd"]
            assert not told["VolumesFrom"]
            assert {at["HostIp"] for ports in told["PortBindings"].values() for at in ports} == {LOOPBACK}
            assert not told["Devices"]
            assert not told.get("DeviceCgroupRules")
            assert "no-new-privileges" in told["SecurityOpt"]
            assert not any("unconfined" in one for one in told["SecurityOpt"])
            for namespace in ("PidMode", "IpcMode", "UTSMode", "UsernsMode"):
                assert told[namespace] in ("", "private", "shareable"), f"{namespace}: its own"
            assert told["Runtime"] == runtime, "the engine's own"
            assert set(one["NetworkSettings"]["Networks"]) <= {self.house.project}
            sources = [mount["Source"] for mount in one["Mounts"] if mount["Type"] == "bind"]
            assert all(Path(source).parent.parent == self.house.homes for source in sources)
            assert one["Config"]["Labels"][LABEL_ADDRESS] in addresses_of(self.house)
        for name, container_id in self.foreign.items():
            assert self.hand.id_of(name) == container_id, f"{name} is not what it was"
            assert self.hand.is_running(container_id)

    def stays_within(self, seconds: float = ALWAYS_S) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.assert_within()
            time.sleep(0.5)


@pytest.fixture(scope="module")
def captured(real_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Captured]:
    settings = {
        "CEILING_CONTAINERS": str(CEILING_CONTAINERS),
        "CEILING_CREATES_PER_MINUTE": str(CEILING_CREATES),
        "CEILING_IMAGES": f"{real_engine.image},localhost/{real_engine.image}",
    }
    with (
        opened(real_engine, tmp_path_factory.mktemp("captured"), settings) as house,
        hand_at(real_engine) as hand,
    ):
        names = (f"{house.project}-foreign", f"{house.project}-others")
        identity = Identity(OTHER_PROJECT, "h" * 26, "uid", 1, "hash", 1, "elsewhere")
        foreign = {
            names[0]: hand.put_foreign(names[0]),
            names[1]: hand.put(names[1], identity.labels()),
        }
        yield Captured(house, hand, foreign)


def keep_a_note(house: House, user: str) -> None:
    house.serve(user)
    assert house.call(user, "disk", text=NOTE).status == 200


def addresses_of(house: House) -> list[str]:
    """Those that the reconciler gives to containers."""
    first, _, last = house.environment["CONTAINER_PORT_RANGE"].partition("-")
    return [f"{LOOPBACK}:{port}" for port in range(int(first), int(last) + 1)]


def free_addresses(tx: Tx, house: House) -> list[str]:
    taken = {one.spec.address for one in tx.list(Incarnation)}
    return [address for address in addresses_of(house) if address not in taken]


def new_user(name: str, template: str = "demo", power: Power = Power.AUTO) -> UserContainer:
    spec = UserContainerSpec(user=user_of(name), template=template, power=power)
    return UserContainer(metadata=Metadata(name=name, finalizers=(DATA_FINALIZER,)), spec=spec)


def forge(
    tx: Tx, house: House, name: str, wanted: str, address: str, container_name: str = ""
) -> tuple[UserContainer, Home]:
    """A user who is always up, their Home, and an intent such as the reconciler alone writes."""
    user = tx.create(new_user(name, power=Power.RUNNING))
    home_name = hostname(hashlib.sha256(name.encode()).digest()[:HOSTNAME_BYTES])
    owner = Owner(user_container=user.name, uid=user.uid, user=user.spec.user)
    # A number that the Home never gave would look like an older store, at the next list, and freeze removals.
    given = HomeStatus(last_incarnation=FORGED_NUMBER)
    home = tx.create(
        Home(metadata=Metadata(name=home_name), spec=HomeSpec(template="demo", owner=owner), status=given)
    )
    spec = IncarnationSpec(
        home=home_name,
        user_container=user.uid,
        number=FORGED_NUMBER,
        spec_hash=wanted,
        container_name=container_name or IncarnationNames.container(house.project, home_name),
        address=address,
        port=8080,
        epoch=0,
    )
    record = Metadata(name=IncarnationNames.record(home_name, FORGED_NUMBER))
    tx.create(Incarnation(metadata=record, spec=spec, status=IncarnationStatus()))
    return user, home


def hash_of(house: House, user: str) -> str:
    """Of what runs for the user, as everybody's of that template is who has no values of their own."""
    [running] = house.incarnations(user)
    return running.spec.spec_hash


def worse(house: House, template: ContainerTemplate, name: str, changes: dict[str, Any]) -> ContainerTemplate:
    """A template with fields that no validation was asked about."""
    said = {}
    for part, value in changes.items():
        standing = getattr(template.spec, part)
        if isinstance(value, dict):
            said[part] = standing.model_copy(update=value)
        elif part == "mounts":
            kind = type(template.spec).model_fields[part].annotation.__args__[0]  # type: ignore[union-attr]
            homes = [{**one, "source": one["source"].replace("HOMES", str(house.homes))} for one in value]
            said[part] = tuple(kind.model_construct(**one, read_only=False) for one in homes)
        else:
            said[part] = value
    return ContainerTemplate(metadata=Metadata(name=name), spec=template.spec.model_copy(update=said))


def test_no_template_gets_a_container_beyond_the_ceiling(captured: Captured) -> None:
    house = captured.house
    names = {f"worse-{number}": what for number, what in enumerate(TEMPLATES)}

    def write(tx: Tx) -> None:
        demo = tx.get(ContainerTemplate, "demo")
        assert demo is not None
        for name, what in names.items():
            tx.create(worse(house, demo, name, TEMPLATES[what]))
            tx.create(new_user(name, name))

    captured.write(write)
    for name, what in names.items():
        until(lambda name=name: "NotAllowed" in house.reason(name, ConditionType.READY), f"{what} is refused")
    captured.stays_within(1.0)
    assert not captured.ours()
    captured.write(lambda tx: [tx.delete(tx.get(UserContainer, name)) for name in names])


def test_a_crowd_of_users_gets_no_more_containers_than_there_may_be(captured: Captured) -> None:
    house = captured.house
    keep_a_note(house, "bob")
    users = [new_user(f"crowd-{number}") for number in range(CROWD)]
    captured.write(lambda tx: [tx.create(one) for one in users])
    until(lambda: len(captured.ours()) == CEILING_CONTAINERS, "as many are there as may be")
    captured.stays_within()
    assert house.call("bob", "disk").result["result"] == NOTE
    captured.write(lambda tx: [tx.delete(tx.get(UserContainer, one.name)) for one in users])
    until(lambda: len(house.read(lambda tx: tx.list(UserContainer))) == 1, "the crowd is gone", 180)
    assert len(captured.ours()) == 1


def test_forged_intents_make_no_more_and_nothing_elsewhere(captured: Captured) -> None:
    """Records that only the reconciler writes, of what is wanted: to be created at once, past the count."""
    house = captured.house
    keep_a_note(house, "bob")
    wanted = hash_of(house, "bob")
    prefix = house.environment["CONTAINER_SUBNET_PREFIX"]
    kept = own_addresses(zones(house.project, IPv4Network(f"{prefix}.0/24"))[Egress.INTERNET].subnet)[2]
    elsewhere = (house.environment["GATEWAY_PRIVATE_BIND"], "0.0.0.0:2222", "10.1.2.3", "nonsense", str(kept))
    wrong = {f"swarm-at-{number}": address for number, address in enumerate((*elsewhere, ""))}
    named = {f"swarm-named-{number}": name for number, name in enumerate(captured.foreign)}
    captured.write(lambda tx: [forge(tx, house, name, wanted, address) for name, address in wrong.items()])
    until(lambda: _refused_addresses(house) >= set(wrong.values()), "no address but our own is taken")
    captured.assert_within()

    def write(tx: Tx) -> None:
        free = free_addresses(tx, house)
        for name, container_name in named.items():
            forge(tx, house, name, wanted, free.pop(), container_name)
        for number in range(SWARM):
            forge(tx, house, f"swarm-{number}", wanted, free.pop())

    captured.write(write)
    for name in named:
        until(lambda name=name: "PlanRefused" in house.reason(name, ConditionType.READY), "no foreign name")
    until(lambda: len(captured.ours()) == CEILING_CONTAINERS, "as many are made as may be")
    captured.stays_within(2 * ALWAYS_S)
    assert str(FORGED_NUMBER) in [one["Config"]["Labels"][LABEL_NUMBER] for one in captured.ours()]
    house.wait_ready("reconciler")
    assert house.call("bob", "disk").result["result"] == NOTE
    _send_away(captured, "swarm")


def test_a_forged_last_good_spec_makes_nothing_beyond_the_ceiling(captured: Captured) -> None:
    """What is wanted is said to have failed, and what ran well before to have been something else."""
    house = captured.house
    keep_a_note(house, "bob")
    wanted, bobs = hash_of(house, "bob"), house.home("bob")
    assert bobs is not None and bobs.status.last_good is not None
    good = bobs.status.last_good
    names = {f"good-{number}": what for number, what in enumerate(LAST_GOOD)}

    def write(tx: Tx) -> None:
        free = free_addresses(tx, house)
        for name, what in names.items():
            beyond = {**good, **LAST_GOOD[what]}
            user, home = forge(tx, house, name, spec_hash(spec_of(beyond)), free.pop())
            tx.update_status(home.replaced(status=home.status.model_copy(update={"last_good": beyond})))
            status = user.status.model_copy(update={"failed_spec_hash": wanted})
            tx.update_status(user.replaced(status=status))

    captured.write(write)
    for name, what in names.items():
        until(lambda name=name: "NotAllowed" in house.reason(name, ConditionType.READY), f"{what} is refused")
    captured.stays_within(1.0)
    assert len(captured.ours()) == 1
    _send_away(captured, "good")


def test_forged_intents_are_carried_out_at_the_pace_of_all_others(
    real_engine: RealEngine, tmp_path: Path
) -> None:
    settings = {"CEILING_CREATES_PER_MINUTE": str(PACE)}
    with opened(real_engine, tmp_path, settings) as house, hand_at(real_engine) as hand:
        house.serve("bob")
        wanted = hash_of(house, "bob")

        def write(tx: Tx) -> None:
            free = free_addresses(tx, house)
            for number in range(3 * PACE):
                forge(tx, house, f"swarm-{number}", wanted, free.pop())

        house.write(write)
        until(lambda: len(hand.ids(house)) >= PACE, "some are made")
        time.sleep(2 * ALWAYS_S)
        made = sorted(one["Created"] for one in hand.containers(house))
        assert all(later - first >= PACE_S_MIN for first, later in zip(made, made[PACE:], strict=False))


def test_a_home_that_is_said_to_be_over_keeps_its_data(captured: Captured) -> None:
    house = captured.house
    keep_a_note(house, "carol")
    data = captured.data("carol")
    home = house.home("carol")
    assert home is not None

    def write(tx: Tx) -> None:
        for one in tx.list(UserContainer):
            if one.spec.user == user_of("carol"):
                tx.delete(one)
                tx.drop_finalizer(tx.get(UserContainer, one.name), DATA_FINALIZER)
        for record in tx.list(Incarnation):
            if record.spec.home == home.name:
                tx.delete(record)
        over = tx.get(Home, home.name)
        assert over is not None
        status = over.status.model_copy(
            update={"tombstoned_at": LONG_AGO, "retain_until": LONG_AGO + timedelta(days=1)}
        )
        tx.update_status(over.replaced(status=status))

    captured.write(write)

    def refused() -> bool:
        lines = house.log_lines("home.unpurged")
        return any(one["home"] == home.name and "does not say" in one["why"] for one in lines)

    until(refused, "the reconciler keeps what the store calls over", 150)
    assert (data / "note.txt").read_text() == NOTE
    captured.assert_within()


def test_a_retention_of_nothing_is_longer_than_that(captured: Captured) -> None:
    house = captured.house
    keep_a_note(house, "dave")
    data, home = captured.data("dave"), house.home("dave")
    assert home is not None

    def write(tx: Tx) -> None:
        template = tx.get(ContainerTemplate, "demo")
        assert template is not None and template.spec.data is not None
        volume = template.spec.data.model_copy(update={"retain_days": 0})
        tx.update_spec(template.replaced(spec=template.spec.model_copy(update={"data": volume})))
        for one in tx.list(UserContainer):
            if one.spec.user == user_of("dave"):
                tx.delete(one)

    captured.write(write)
    kept = until(lambda: _tombstoned(house, home.name), "Dave's data are put aside")
    assert kept > datetime.now(UTC) + timedelta(hours=23)
    assert (data / "note.txt").read_text() == NOTE


def test_nobody_is_made_a_one_time_user_afterwards(captured: Captured) -> None:
    house = captured.house
    keep_a_note(house, "erin")
    data, home = captured.data("erin"), house.home("erin")
    assert home is not None

    def write(tx: Tx) -> None:
        app = next(one for one in tx.list(App))
        tx.update_spec(app.replaced(spec=app.spec.model_copy(update={"persistent": False})))
        standing = tx.get(Home, home.name)
        assert standing is not None
        tx.update_spec(standing.replaced(spec=standing.spec.model_copy(update={"one_time": True})))
        for one in tx.list(UserContainer):
            if one.spec.user == user_of("erin"):
                tx.delete(one)

    captured.write(write)
    until(lambda: _was_contradicted(house, home.name), "the claim is believed, and not the store")
    assert (data / "note.txt").read_text() == NOTE


def test_nobody_gets_anothers_home(captured: Captured) -> None:
    house = captured.house
    keep_a_note(house, "bob")
    data, home = captured.data("bob"), house.home("bob")
    assert home is not None

    def write(tx: Tx) -> None:
        mallory = tx.create(new_user("mallory"))
        standing = tx.get(Home, home.name)
        assert standing is not None
        owner = Owner(user_container=mallory.name, uid=mallory.uid, user=mallory.spec.user)
        tx.update_spec(standing.replaced(spec=standing.spec.model_copy(update={"owner": owner})))
        for record in tx.list(Incarnation):
            if record.spec.home == home.name:
                tx.delete(record)

    claim = (data.parent / "claim.json").read_text()
    captured.write(write)
    captured.hand.remove(IncarnationNames.container(house.project, home.name))
    until(lambda: "ClaimContradicted" in house.reason("mallory", ConditionType.READY), "Mallory is refused")
    assert captured.hand.id_of(IncarnationNames.container(house.project, home.name)) is None
    assert (data.parent / "claim.json").read_text() == claim
    assert (data / "note.txt").read_text() == NOTE
    captured.assert_within()


def test_a_home_of_a_name_that_leads_elsewhere_is_nobodys(captured: Captured) -> None:
    """Their own container lays down what the reconciler would find there, as root."""
    house = captured.house
    house.serve("ivan")
    inside, home = captured.data("ivan") / "inside", house.home("ivan")
    assert home is not None
    precious = house.folder / "precious"
    precious.write_text(NOTE)
    inside.mkdir()
    (inside / "claim.draft").symlink_to(precious)

    def write(tx: Tx) -> None:
        judy = tx.create(new_user("judy", power=Power.RUNNING))
        owner = Owner(user_container=judy.name, uid=judy.uid, user=judy.spec.user)
        claim = Claim(home=inside.name, template="demo", owner=owner)
        (inside / "claim.json").write_text(claim.model_dump_json(by_alias=True))
        name = f"{home.name}/data/{inside.name}"
        tx.create(Home(metadata=Metadata(name=name), spec=HomeSpec(template="demo", owner=owner)))

    captured.write(write)
    until(lambda: "ClaimContradicted" in house.reason("judy", ConditionType.READY), "nothing is made there")
    assert "is no name of a Home" in house.mcpgw("explain", "judy").stdout
    captured.stays_within()
    assert precious.read_text() == NOTE
    assert sorted(one.name for one in inside.iterdir()) == ["claim.draft", "claim.json"]


def test_a_flood_of_requests_and_records_that_make_no_sense_keep_nobody_waiting(captured: Captured) -> None:
    house = captured.house
    house.serve("frank")

    def write(tx: Tx) -> None:
        for number in range(CROWD):
            spec = RequestSpec(
                user_container=f"nobody-{number}", verb=Verb.RESTART, asked_by="x", asked_at=LONG_AGO
            )
            tx.create(Request(metadata=Metadata(name=f"flood-{number}"), spec=spec))
        for home in tx.list(Home):
            if home.spec.owner is not None and home.spec.owner.user == user_of("frank"):
                status = home.status.model_copy(update={"last_good": {"image": 1}})
                tx.update_status(home.replaced(status=status))

    captured.write(write)
    assert house.serve("grace")
    house.wait_ready("reconciler")
    captured.assert_within()


def test_rows_that_are_no_objects_end_nobodys_container(captured: Captured) -> None:
    """The last one: nothing is to be read in such a store any more."""
    house = captured.house
    before = captured.hand.ids(house)
    assert before
    path = house.environment["STORE_URL"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, timeout=30)) as store, store:
        store.execute(
            "UPDATE objects SET document = '{\"privileged\": true}' WHERE kind = 'ContainerTemplate'"
        )
        store.execute("UPDATE objects SET document = 'nonsense' WHERE kind = 'Home'")
        store.execute("UPDATE counter SET revision = revision + 1")
    captured.stays_within()
    assert captured.hand.ids(house) == before
    assert all(one["State"]["Running"] for one in captured.ours())


def _refused_addresses(house: House) -> set[str]:
    lines = house.log_lines("address.avoided")
    return {one["address"] for one in lines if "is none of the addresses" in one["why"]}


def _send_away(captured: Captured, prefix: str) -> None:
    """Delete whoever is called so, until Bob alone is there again."""
    house = captured.house
    captured.write(
        lambda tx: [tx.delete(one) for one in tx.list(UserContainer) if one.name.startswith(prefix)]
    )
    until(lambda: len(house.read(lambda tx: tx.list(UserContainer))) == 1, f"{prefix}… are gone", 180)
    assert len(captured.ours()) == 1


def _tombstoned(house: House, name: str) -> datetime | None:
    home = house.read(lambda tx: tx.get(Home, name))
    return home.status.retain_until if home is not None else None


def _was_contradicted(house: House, home: str) -> bool:
    return any("claimed to be kept" in str(one) and home in str(one) for one in house.log_lines())
