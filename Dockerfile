# docker build -t mixsynth-stream .                                           on the CPU
# docker build -t mixsynth-stream:cuda --target cuda .                        with the CUDA encoder (--backend cuda)
# docker build -t mixsynth-stream:ray --build-arg EXTRAS=arrow,ray .          for a cluster of Ray
# docker run --rm -v "$PWD":/data mixsynth-stream run '*.mp4' --out results   --user "$(id -u)" where the folder is yours alone
ARG EXTRAS=arrow

# The same release of CUDA that setup.py asks for at least; what it builds needs a driver only.
FROM nvidia/cuda:12.8.1-devel-ubuntu22.04 AS cuda-build
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/mixsynth-stream
WORKDIR /src
COPY . .
ARG EXTRAS
RUN MIXSYNTH_CUDA=1 MIXSYNTH_ARCH=all \
    /opt/mixsynth-stream/bin/pip install --no-cache-dir -c constraints.txt ".[${EXTRAS}]"

FROM nvidia/cuda:12.8.1-base-ubuntu22.04 AS cuda
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home mixsynth
COPY --from=cuda-build /opt/mixsynth-stream /opt/mixsynth-stream
ENV PATH=/opt/mixsynth-stream/bin:$PATH NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000
WORKDIR /data
ENTRYPOINT ["mixsynth-stream"]
CMD ["--help"]

FROM python:3.11-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/mixsynth-stream
WORKDIR /src
COPY . .
ARG EXTRAS
RUN MIXSYNTH_CUDA=0 /opt/mixsynth-stream/bin/pip install --no-cache-dir -c constraints.txt ".[${EXTRAS}]"

# The last stage is what `docker build` makes where no other one is named.
FROM python:3.11-slim-bookworm AS cpu
RUN useradd --uid 1000 --create-home mixsynth
COPY --from=build /opt/mixsynth-stream /opt/mixsynth-stream
ENV PATH=/opt/mixsynth-stream/bin:$PATH
USER 1000
WORKDIR /data
ENTRYPOINT ["mixsynth-stream"]
CMD ["--help"]
