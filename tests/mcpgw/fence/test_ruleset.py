"""What the fence keeps containers from is what operators are told to keep their proxies from."""

from pathlib import Path

from mcpgw.fence.ruleset import PRIVATE

NETWORKS = Path(__file__).parents[3] / "docs" / "networks.md"
ACL = "acl inward dst "


def test_a_proxy_is_told_to_refuse_every_range_that_the_fence_drops() -> None:
    lines = [line for line in NETWORKS.read_text().splitlines() if line.startswith(ACL)]
    told = [one for line in lines for one in line.removeprefix(ACL).split() if ":" not in one]
    assert told == [str(one) for one in PRIVATE]
