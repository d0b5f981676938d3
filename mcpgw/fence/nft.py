"""Writes the fence into the kernel through `nft`, reads it back, and takes it away.

Decides whether what stands is what was written: by reading every chain and rule, and never by an exit code.
Other tables are neither read nor touched. Next: :mod:`mcpgw.fence.keeping`.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from mcpgw.bootstrap.rights import CAP_NET_ADMIN, has_capability
from mcpgw.fence.errors import FenceError
from mcpgw.fence.programs import run
from mcpgw.fence.ruleset import FAMILIES, Chain, Ruleset, removal, table_of

_Listed = Mapping[str, Any]


def may_not(verb: str) -> str:
    """Why this process may not ``verb`` a fence here, with the mend; "" if nothing is known against it."""
    if sys.platform != "linux":
        return (
            f"cannot {verb} the fence: it is for Linux, and here containers run in the engine's virtual "
            "machine; run `mcpgw fence` in there"
        )
    if not has_capability(CAP_NET_ADMIN):
        return (
            f"cannot {verb} the fence: it takes root, or CAP_NET_ADMIN in the host's network; "
            "run `mcpgw fence` as root"
        )
    return ""


def write(rules: Ruleset) -> None:
    """All of it or nothing. Raises FenceError, also where it does not stand afterwards."""
    _run("write", ("-f", "-"), rules.text())
    fault = fault_of(rules)
    if fault:
        raise FenceError(f"the fence was written and does not stand: {fault}; see `nft list ruleset`")


def remove(project: str) -> None:
    """Absent is success. Raises FenceError."""
    _run("remove", ("-f", "-"), removal(table_of(project)))


def fault_of(rules: Ruleset) -> str:
    """In which way what stands is not what ``rules`` say; "" if it stands. Raises FenceError."""
    faults = (_fault_of_family(rules, family) for family in FAMILIES)
    return next(filter(None, faults), "")


def _fault_of_family(rules: Ruleset, family: str) -> str:
    name = f"table {family} {rules.table}"
    tables = [one for kind, one in _listed(("tables", family)) if kind == "table"]
    if not any(one.get("name") == rules.table for one in tables):
        return f"{name} is not there"
    listed = _listed(("table", family, rules.table))
    if any(kind == "table" and one.get("flags") for kind, one in listed):
        return f"{name} is switched off"
    wanted = {chain.name: chain for chain in rules.chains if chain.family == family}
    chains = {one["name"]: one for kind, one in listed if kind == "chain"}
    if chains.keys() != wanted.keys():
        return f"{name} has other chains than it should"
    marks: dict[str, list[str]] = {chain: [] for chain in wanted}
    for kind, one in listed:
        if kind == "rule":
            marks[one["chain"]].append(one.get("comment", ""))
    for chain in wanted.values():
        if not _is_hooked(chains[chain.name], chain) or marks[chain.name] != list(chain.marks()):
            return f"chain {chain.name} of {name} has other rules than it should"
    return ""


def _is_hooked(found_: _Listed, chain: Chain) -> bool:
    has = (found_.get("type"), found_.get("hook"), found_.get("prio"), found_.get("policy"))
    return has == ("filter", chain.hook, chain.priority, "accept")


def _listed(what: Sequence[str]) -> list[tuple[str, _Listed]]:
    text = _run("read", ("-j", "list", *what))
    try:
        return [(kind, one) for entry in json.loads(text)["nftables"] for kind, one in entry.items()]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FenceError(
            "cannot read the fence: nft answers no JSON; install an nft that has it (1.0.2 or later)"
        ) from None


def _run(verb: str, words: Sequence[str], text: str = "") -> str:
    if reason := may_not(verb):
        raise FenceError(reason)
    return run(f"cannot {verb} the fence", ("nft", *words), "nftables", text)
