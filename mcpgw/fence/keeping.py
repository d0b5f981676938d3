"""Keeps the fence: writes it, looks again and again, mends it, and says in the report that it stands.

The report is written only after the rules were read back, and taken away before they are. What ends leaves
the rules as they are: containers run on. Next: :mod:`mcpgw.fence.verb`, and :mod:`mcpgw.up`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mcpgw.fence import nft, tailnet
from mcpgw.fence.bridges import keep_addresses
from mcpgw.fence.errors import FenceError
from mcpgw.fence.resolvers import resolvers
from mcpgw.fence.ruleset import Ruleset, ruleset
from reconciler.core.isolation import FenceAsked, isolation_of
from reconciler.core.zones import services_bridge
from reconciler.settings import ReconcilerSettings
from state.fence import FenceReport, FenceUnreadable, boot_id, read_fence, remove_fence, write_fence

KEEP_PERIOD_S = 30.0  # a third of how long a kept fence is believed in


@dataclass(frozen=True, slots=True)
class Fence:
    """One project's fence on this machine, as the settings ask for it."""

    settings: ReconcilerSettings

    def rules(self) -> Ruleset:
        """As of now: the host's name servers change with the network that it is in."""
        settings = self.settings
        return ruleset(
            settings.container_project_name,
            settings.zones,
            trusted=settings.fence_trusted,
            proxy=settings.egress_proxy,
            resolvers=resolvers(),
            # Podman's, on networks that compose has made; on those of ours it is off.
            names_at_bridge=settings.container_engine == "podman",
        )

    def bridges(self) -> tuple[str, ...]:
        """The host's interfaces to the project's networks, whether they are there or not."""
        settings = self.settings
        services = services_bridge(settings.container_project_name)
        return (*(zone.bridge for zone in settings.zones.values()), services)

    def fault(self) -> str:
        """What is wrong with what stands; "" if it is right. Raises FenceError."""
        return nft.fault_of(self.rules())

    def route_fault(self) -> str:
        """Likewise of the route to the tailnet, where one is asked for. Raises FenceError."""
        router = self.settings.fence_tailnet_router
        return "" if router is None else tailnet.fault_of(router)

    def write(self, *, kept: bool) -> None:
        """Write, read back, report. Raises FenceError."""
        nft.write(self.rules())
        self._report(kept=kept)

    def mend(self) -> str:
        """Report that it stands, having mended what did not; what that was. Raises FenceError."""
        fault = self.fault()
        if fault:
            nft.write(self.rules())
        self._report(kept=True)
        return fault

    def mend_route(self) -> str:
        """Set the route to the tailnet where one is asked for; what was wrong with it. Raises FenceError."""
        router = self.settings.fence_tailnet_router
        return "" if router is None else tailnet.mend(router)

    def is_reported(self) -> bool:
        """Whether somebody wrote a fence that the reconciler believes in."""
        settings = self.settings
        asked = FenceAsked(
            frozenset(zone.subnet for zone in settings.zones.values()),
            frozenset(settings.fence_trusted),
            str(settings.egress_proxy or ""),
        )
        try:
            report = read_fence(settings.fence_report)
        except FenceUnreadable:
            return False
        return isolation_of(report, asked, boot_id(), datetime.now(UTC)).is_fenced

    def remove(self) -> None:
        """The report first: nobody believes in what is about to go. Raises FenceError."""
        path = self.settings.fence_report
        try:
            remove_fence(path)
        except OSError as error:
            raise FenceError(f"FENCE_REPORT={path} cannot be removed ({error.strerror})") from None
        nft.remove(self.settings.container_project_name)
        if (router := self.settings.fence_tailnet_router) is not None:
            tailnet.remove(router)

    def _report(self, *, kept: bool) -> None:
        settings = self.settings
        report = FenceReport(
            boot_id=boot_id(),
            subnets=tuple(zone.subnet for zone in settings.zones.values()),
            trusted=settings.fence_trusted,
            proxy=str(settings.egress_proxy or ""),
            kept=kept,
            written_at=datetime.now(UTC),
        )
        try:
            write_fence(settings.fence_report, report)
        except OSError as error:
            raise FenceError(_unwritable(settings.fence_report, error)) from None


def _unwritable(path: Path, error: OSError) -> str:
    return (
        f"the fence stands, but FENCE_REPORT={path} cannot be written ({error.strerror}), so nobody knows; "
        "make its directory, or name another file"
    )


async def keep(fence: Fence, say: Callable[[str], None]) -> None:
    """Mend and report, every KEEP_PERIOD_S, until cancelled; keep the bridges' addresses, and the route.

    ``say`` hears of whatever was mended, and once of what cannot be.
    """
    keepers = [
        asyncio.create_task(one)
        for one in (
            _mend(fence.mend, "the fence was broken, and stands again: {}", say, first_s=KEEP_PERIOD_S),
            _mend(fence.mend_route, "the route is set: {}", say),
            keep_addresses(fence.bridges(), say),
        )
    ]
    try:
        await asyncio.gather(*keepers)
    finally:
        for task in keepers:
            task.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)


async def _mend(
    mend: Callable[[], str], mended: str, say: Callable[[str], None], first_s: float = 0.0
) -> None:
    told = ""
    await asyncio.sleep(first_s)
    while True:
        try:
            fault, error = await asyncio.to_thread(mend), ""
        except FenceError as failed:
            fault, error = "", str(failed)
        if fault:
            say(mended.format(fault))
        if error and error != told:
            say(error)
        told = error
        await asyncio.sleep(KEEP_PERIOD_S)
