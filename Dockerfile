# The project's image: the gateway, the reconciler and the fence, each by its verb (docker-compose.yml).
#
# BASE is any image with Python 3.11 or later; nftables is added where it has none and has apt. Packages are
# installed in a stage of their own, by their hashes, so that what installs them stays behind.
ARG BASE=docker.io/library/python:3.13-slim
ARG BUILDER=${BASE}

FROM ${BUILDER} AS built
COPY requirements.lock /tmp/requirements.lock
RUN python3 -m pip install --no-cache-dir --no-compile --target /opt/mcp-gateway/lib \
    --require-hashes -r /tmp/requirements.lock -c /tmp/requirements.lock
COPY gateway /opt/mcp-gateway/gateway
COPY reconciler /opt/mcp-gateway/reconciler
COPY state /opt/mcp-gateway/state
COPY mcpgw /opt/mcp-gateway/mcpgw
RUN rm -rf /opt/mcp-gateway/mcpgw/testing && mkdir /opt/mcp-gateway/bin \
    && printf '#!/bin/sh\nexec python3 -m mcpgw "$@"\n' >/opt/mcp-gateway/bin/mcpgw \
    && chmod 0755 /opt/mcp-gateway/bin/mcpgw \
    && rm -rf /opt/mcp-gateway/lib/bin \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/mcp-gateway

FROM ${BASE}
RUN command -v nft >/dev/null || (apt-get update \
    && apt-get install -y --no-install-recommends nftables && rm -rf /var/lib/apt/lists/*)
COPY --from=built /opt/mcp-gateway /opt/mcp-gateway
# A volume that is new takes over the owner and mode of what it covers: the state is the gateway's, and its group's.
RUN mkdir -p /var/lib/mcp-gateway/state /var/lib/mcp-gateway/fence \
    && chown 10001:10001 /var/lib/mcp-gateway/state && chmod 2770 /var/lib/mcp-gateway/state
ENV PATH=/opt/mcp-gateway/bin:${PATH}
ENV PYTHONPATH=/opt/mcp-gateway:/opt/mcp-gateway/lib
ENV PYTHONDONTWRITEBYTECODE=1
ENV PYTHONUNBUFFERED=1
ENV LANG=C.UTF-8
ENV PYDANTIC_DISABLE_PLUGINS=__all__
WORKDIR /opt/mcp-gateway
USER 10001:10001
ENTRYPOINT ["mcpgw"]
CMD ["--help"]
