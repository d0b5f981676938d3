"""`python -m demo`: serve the demo on every address until told to stop."""

import gc
import time

from demo.settings import from_environment

GRACE_S = 3
WEBSOCKET_MAX_BYTES = 32 * 1024 * 1024


def main() -> None:
    """Read the environment, wait if asked to, serve. The port opens only once everything is loaded."""
    settings = from_environment()
    time.sleep(settings.startup_delay_s)

    gc.disable()  # loading makes many objects and no garbage; looking for some would cost a tenth of it
    import uvicorn  # noqa: PLC0415 - nothing is loaded before the delay that was asked for

    from demo.app import build_app  # noqa: PLC0415 - the same

    app = build_app(settings)
    gc.freeze()
    gc.enable()
    uvicorn.run(
        app,
        host="0.0.0.0",
        port=settings.port,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        ws_max_size=WEBSOCKET_MAX_BYTES,
    )


if __name__ == "__main__":
    main()
