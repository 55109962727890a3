# Build with: docker build --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" .
# A release passes PYTHON_IMAGE with a digest; the tag alone is for building at home.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build

# The venv that is shipped has no pip of its own: the build's pip installs into it from outside.
RUN python -m venv tools && python -m venv --without-pip /opt/venv
COPY requirements/build.txt requirements/constraints.txt requirements/
RUN tools/bin/pip install --require-hashes --only-binary :all: -r requirements/build.txt \
    && tools/bin/pip --python /opt/venv/bin/python install --no-compile --require-hashes --only-binary :all: \
        -r requirements/constraints.txt

COPY pyproject.toml README.md LICENSE ./
COPY src src
# Compiled here since the image may run read-only and as any user; unchecked, so no file's time matters. The command runs
# isolated (-I), as the working directory may be a checkout; -I drops the variables below, so -u and -B say them again.
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && tools/bin/pip --python /opt/venv/bin/python install --no-compile --no-deps --no-index dist/*.whl \
    && sed -i '1s/$/ -IuB/' /opt/venv/bin/gitlab-port-export \
    && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib

FROM ${PYTHON_IMAGE}
ARG VERSION=""
ARG REVISION=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="gitlab-port-export" \
    org.opencontainers.image.description="Bring a Port software catalog in step with GitLab" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.source="${SOURCE}"
COPY --from=build /opt/venv /opt/venv
# HOME for a user id that has no entry in /etc/passwd; unbuffered so that CI shows lines as they come.
ENV PATH="/opt/venv/bin:${PATH}" HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Ocean's images work in /app too: what is mounted at /app/.port/resources is found in the same place.
WORKDIR /app
USER 65532:65532
ENTRYPOINT ["gitlab-port-export"]
CMD ["sync"]
