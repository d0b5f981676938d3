"""The few words of the engine's API, said to both engines and to sockets that are none."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest

from mcpgw.bootstrap.engine_api import (
    Engine,
    EngineUnreachable,
    Network,
    answers,
    image_id,
    networks,
    ping,
    tag_image,
)
from mcpgw.bootstrap.errors import BootstrapError
from tests.engines import RealEngine

SHORT_S = 0.3


@contextmanager
def socket_that_says(path: Path, answer: bytes | None) -> Iterator[str]:
    """A Unix socket that answers one connection with these bytes, or keeps silent for None."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        done = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                if answer is None:
                    done.wait()
                else:
                    connection.sendall(answer)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield f"unix://{path}"
        done.set()
        server.join()


@pytest.mark.engine
def test_both_engines_answer_and_have_the_image_by_both_names(real_engine: RealEngine) -> None:
    engine = real_engine.bare
    ping(engine.url)
    assert image_id(engine, real_engine.image) == image_id(engine, "mcp-gateway-demo:latest")
    assert image_id(engine, "mcp-gateway-demo:no-such-tag") is None


@pytest.mark.engine
def test_what_an_engine_refuses_is_told_in_one_line(real_engine: RealEngine) -> None:
    engine = real_engine.bare
    with pytest.raises(BootstrapError) as caught:
        tag_image(engine, "mcp-gateway-demo:no-such-tag", repository="x", tag="y")
    assert "refused" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_subnet_is_read_though_an_engine_says_an_address_in_it(tmp_path: Path) -> None:
    """As Docker before 25 does of its default bridge."""
    told = b'[{"Name": "bridge", "Labels": null, "IPAM": {"Config": [{"Subnet": "172.20.0.1/16"}, {}]}}]'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(told), told)
    with socket_that_says(tmp_path / "s", answer) as url:
        [bridge] = networks(Engine("docker", url))
    assert bridge == Network("bridge", {}, (ip_network("172.20.0.0/16"),))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("unix:///nowhere/engine.sock", "No such file"),
        ("tcp://127.0.0.1:1", "refused"),
        ("ssh://somewhere", "not ssh"),
        ("nonsense", "understood"),
    ],
)
def test_where_nothing_answers_the_reason_is_told(url: str, reason: str) -> None:
    with pytest.raises(EngineUnreachable, match=reason):
        ping(url)


def test_a_socket_that_keeps_silent_is_given_up(tmp_path: Path) -> None:
    with socket_that_says(tmp_path / "deaf.sock", None) as url:
        assert not answers(url, timeout_s=SHORT_S)


@pytest.mark.parametrize(
    "answer",
    [b"", b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"HTTP/1.1 500 No\r\n\r\n"],
)
def test_a_socket_that_is_no_engine_is_not_taken_for_one(tmp_path: Path, answer: bytes) -> None:
    with socket_that_says(tmp_path / "other.sock", answer) as url:
        assert not answers(url, timeout_s=SHORT_S)
