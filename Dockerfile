# fltac with everything that constraints.txt pins, for cluster.yaml and deploy/rayjob.yaml:
#   docker build -t fltac:0.1.0 .
# torch from the package index is the CUDA build; the host gives driver and container toolkit.
FROM python:3.11.14-slim-bookworm

# wget asks a node for its health (KubeRay), rsync brings files in (the cluster launcher)
RUN apt-get update && apt-get install --yes --no-install-recommends rsync wget && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 ray && install -d -o ray -g ray /runs

WORKDIR /opt/fltac
COPY pyproject.toml constraints.txt requirements-samples.txt README.md ./
COPY fltac fltac
RUN pip install --no-cache-dir --constraint constraints.txt '.[generation,optuna]' \
    && pip install --no-cache-dir --no-deps --requirement requirements-samples.txt
COPY experiments experiments

USER ray
# No Ray starts here without a token; a job's results go where /runs is mounted.
ENV RAY_AUTH_MODE=token FLTAC_RUNS=/runs PYTHONUNBUFFERED=1
CMD ["fltac", "--help"]
