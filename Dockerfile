# The project's image: the gateway, the reconciler and the fence, each by its verb (docker-compose.yml).
#
# It stands on nothing but Python and what else it needs of Debian's packages, without apt or a package manager
# (mcpgw/bootstrap/base.py). DEBIAN is an image of Debian or of a derivative; one that has /base already has pip too,
# and then nothing but the project is built (mcpgw/bootstrap/project_image.py). Packages are installed by their hashes.
ARG DEBIAN=docker.io/library/debian:bookworm-slim

FROM ${DEBIAN} AS built
COPY mcpgw/__init__.py /build/mcpgw/
COPY mcpgw/bootstrap /build/mcpgw/bootstrap
RUN test -d /base || (apt-get update && apt-get install -y --no-install-recommends python3-pip \
    && cd /build && python3 -m mcpgw.bootstrap.base /base)
COPY requirements.lock /build/requirements.lock
RUN python3 -m pip install --no-cache-dir --no-compile --target /opt/mcp-gateway/lib \
    --require-hashes -r /build/requirements.lock -c /build/requirements.lock
COPY gateway /opt/mcp-gateway/gateway
COPY reconciler /opt/mcp-gateway/reconciler
COPY state /opt/mcp-gateway/state
COPY mcpgw /opt/mcp-gateway/mcpgw
RUN rm -rf /opt/mcp-gateway/mcpgw/testing && mkdir /opt/mcp-gateway/bin \
    && printf '#!/bin/sh\nexec python3 -m mcpgw "$@"\n' >/opt/mcp-gateway/bin/mcpgw \
    && chmod 0755 /opt/mcp-gateway/bin/mcpgw \
    && rm -rf /opt/mcp-gateway/lib/bin \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/mcp-gateway

FROM scratch
COPY --from=built /base /
COPY --from=built /opt/mcp-gateway /opt/mcp-gateway
ENV PATH=/opt/mcp-gateway/bin:/usr/bin:/usr/sbin
# A volume that is new takes over the owner and mode of what it covers: the state is the gateway's, and its group's.
RUN mkdir -p /var/lib/mcp-gateway/state /var/lib/mcp-gateway/fence \
    && chown 10001:10001 /var/lib/mcp-gateway/state && chmod 2770 /var/lib/mcp-gateway/state
ENV PYTHONPATH=/opt/mcp-gateway:/opt/mcp-gateway/lib
ENV PYTHONDONTWRITEBYTECODE=1
ENV PYTHONUNBUFFERED=1
ENV LANG=C.UTF-8
ENV PYDANTIC_DISABLE_PLUGINS=__all__
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
WORKDIR /opt/mcp-gateway
USER 10001:10001
ENTRYPOINT ["mcpgw"]
CMD ["--help"]
