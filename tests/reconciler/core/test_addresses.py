"""Which address an incarnation gets."""

from collections.abc import Container

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.addresses import AddressPool, pick_address

PORTS = AddressPool("publish", ports=range(21000, 21004))
NETWORK = AddressPool("network", subnet="10.211.7.0/28")  # 14 hosts, 10 of them reserved
ENGINE = AddressPool("engine")


def port(number: int) -> str:
    return f"127.0.0.1:{number}"


def pick(pool: AddressPool, taken: Container[str], preferred: str, start: int) -> str | None:
    return pick_address(pool, lambda address: address not in taken, preferred, start)


PICKS = {
    "the preferred one, if it is free": (PORTS, (), port(21002), 0, port(21002)),
    "another one, if the preferred one is taken": (PORTS, (port(21002),), port(21002), 0, port(21000)),
    "another one, if the preferred one is outside the range by now": (PORTS, (), port(9), 0, port(21000)),
    "another one, if the preferred one is of the other kind": (PORTS, (), "10.211.7.11", 0, port(21000)),
    "the next one round the pool": (PORTS, (), "", 3, port(21003)),
    "the first again after the last": (PORTS, (port(21003),), "", 3, port(21000)),
    "none when all are taken": (PORTS, tuple(port(n) for n in PORTS.ports), "", 1, None),
    "a host past the reserved ones": (NETWORK, (), "", 0, "10.211.7.11"),
    "the preferred host": (NETWORK, (), "10.211.7.14", 0, "10.211.7.14"),
    "no reserved host": (NETWORK, (), "10.211.7.3", 0, "10.211.7.11"),
    "no broadcast address": (NETWORK, (), "10.211.7.15", 0, "10.211.7.11"),
    "no published port on a network": (NETWORK, (), port(21000), 0, "10.211.7.11"),
    "no address with a port on a network": (NETWORK, (), "10.211.7.12:80", 0, "10.211.7.11"),
    "no port in another spelling": (PORTS, (), "127.0.0.1:021002", 0, port(21000)),
    "no port of another address": (PORTS, (), "0.0.0.0:21002", 0, port(21000)),
    "nothing that is no address on a network": (NETWORK, (), "nonsense", 0, "10.211.7.11"),
    "nothing that is no port": (PORTS, (), "127.0.0.1:x", 0, port(21000)),
    "nothing that is none at all": (PORTS, (), "nonsense", 0, port(21000)),
    "nothing where the engine chooses": (ENGINE, (), "10.0.0.1", 5, ""),
}


@pytest.mark.parametrize(("pool", "taken", "preferred", "start", "picked"), PICKS.values(), ids=PICKS.keys())
def test_picked_is(
    pool: AddressPool, taken: tuple[str, ...], preferred: str, start: int, picked: str | None
) -> None:
    assert pick(pool, taken, preferred, start) == picked


@pytest.mark.fault(13)
@pytest.mark.parametrize("pool", [PORTS, NETWORK], ids=["publish", "network"])
def test_every_address_of_a_pool_is_given_once_and_then_none(pool: AddressPool) -> None:
    taken: list[str] = []
    while (address := pick(pool, taken, "", len(taken))) is not None:
        taken.append(address)
    assert len(taken) == len(set(taken)) == len(pool) == 4


@pytest.mark.fault(37)
@given(st.data())
def test_an_address_that_is_taken_is_never_picked(data: st.DataObject) -> None:
    pool = data.draw(st.sampled_from([PORTS, NETWORK]))
    every = [pool.at(index) for index in range(len(pool))]
    taken = data.draw(st.sets(st.sampled_from(every)))
    preferred = data.draw(st.sampled_from(["", *every, "127.0.0.1:80", "10.211.7.1"]))
    picked = pick(pool, taken, preferred, data.draw(st.integers(0, 10**6)))
    assert (picked is None) is (len(taken) == len(pool))
    assert picked is None or (picked in every and picked not in taken)


def test_an_empty_network_has_no_addresses() -> None:
    assert pick(AddressPool("network", subnet="10.0.0.0/30"), (), "", 0) is None


@pytest.mark.parametrize("pool", [PORTS, NETWORK], ids=["publish", "network"])
def test_who_picks_behind_the_last_pick_picks_another_one_although_it_is_not_taken_yet(
    pool: AddressPool,
) -> None:
    first = pick(pool, (pool.at(0),), "", 0)
    assert first == pool.at(1)
    assert pick(pool, (pool.at(0),), "", pool.after(first)) == pool.at(2)
