# `make image` builds it.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY operator ./operator
RUN python -m venv /opt/edgeherd && /opt/edgeherd/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.11-slim
COPY --from=build /opt/edgeherd /opt/edgeherd
USER 65532:65532
ENTRYPOINT ["/opt/edgeherd/bin/python", "-m", "edgeherd"]
