"""A program whose users are one-time users: what they had goes soon after their last use."""

import time

import pytest

from mcpgw.testing.calls import call_tool
from mcpgw.testing.house import House, until
from state.kinds.app import END_AFTER_S_MIN, key_sha256, mint_key
from tests.e2e.hand import Hand

pytestmark = pytest.mark.engine

GONE_S_MAX = 180.0  # the end itself, and a list or two
_APP = """apiVersion: mcp-gateway/v1
kind: App
metadata: {{name: once}}
spec: {{keySha256: {key}, template: demo, persistent: false, endAfter: {end_after_s:g}s}}
"""


def test_a_one_time_users_container_and_data_go_after_the_last_use(shared_house: House, hand: Hand) -> None:
    house, key = shared_house, mint_key()
    house.serve("keeper")
    kept, homes = hand.ids(house), set(house.homes.iterdir())
    house.write_manifest("once.yaml", _APP.format(key=key_sha256(key), end_after_s=END_AFTER_S_MIN))
    headers = {"Authorization": f"Bearer {key}", "X-App-User": "visitor"}

    def write(text: str) -> str:
        answer = call_tool(house.mcp_url, headers, "disk", {"text": text})
        return str(answer.result["result"]) if answer.status == 200 else ""

    until(lambda: write("kept?"), "the visitor is served", GONE_S_MAX)
    (home,) = set(house.homes.iterdir()) - homes
    began = time.monotonic()
    while time.monotonic() - began < 1.5 * END_AFTER_S_MIN:
        assert write("still here") == "still here"
        time.sleep(2.0)
    until(lambda: not home.exists(), "the visitor's data is gone", GONE_S_MAX)
    assert hand.ids(house) == kept
    until(lambda: call_tool(house.mcp_url, headers, "disk", {}).status == 200, "who comes again is served")
    assert call_tool(house.mcp_url, headers, "disk", {}).result["result"] == "", "and begins empty"
