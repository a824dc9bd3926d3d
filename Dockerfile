# `make image` builds it.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
# The operator alone, without its stand-ins. A folder that is not there is left out of the package without a word:
# the last commands see whether the operator is in it. uamqp, which azure-iot-hub wants and the operator does not, is
# for x86-64 only: nowhere does the image have it.
COPY operator/edgeherd ./operator/edgeherd
RUN python -m venv /opt/edgeherd && \
  /opt/edgeherd/bin/pip install --no-cache-dir --constraint constraints.txt . && \
  /opt/edgeherd/bin/pip install --no-cache-dir --constraint constraints.txt --no-deps azure-iot-hub && \
  /opt/edgeherd/bin/pip uninstall --yes uamqp && \
  /opt/edgeherd/bin/python -c 'import edgeherd.run' && \
  /opt/edgeherd/bin/edgeherd --version

FROM python:3.11-slim
COPY --from=build /opt/edgeherd /opt/edgeherd
USER 65532:65532
ENTRYPOINT ["/opt/edgeherd/bin/python", "-m", "edgeherd"]
