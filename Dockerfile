# Production image: the worker (default) or the HTTP service, with CUDA.
#   docker build --build-arg CUDA_COMPUTE_CAP=89 --platform linux/amd64 -t dragunov .
# The Hub's test harness needs a shell, which, and a writable /bin: so Ubuntu, not a bare image, and a plain CMD.
ARG CUDA=12.8.1
FROM nvidia/cuda:${CUDA}-devel-ubuntu24.04 AS build
ARG CUDA_COMPUTE_CAP=80
ENV CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP} PATH=/root/.cargo/bin:$PATH
RUN apt-get update && apt-get install -y --no-install-recommends curl ca-certificates build-essential pkg-config \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY rust-toolchain.toml ./
RUN curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal --default-toolchain none \
 && rustup show
COPY . .
RUN --mount=type=cache,target=/root/.cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --features cuda --bin dragunov && cp target/release/dragunov /dragunov

FROM nvidia/cuda:${CUDA}-runtime-ubuntu24.04
LABEL org.opencontainers.image.title="dragunov" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl \
 && rm -rf /var/lib/apt/lists/* && useradd --system --uid 10001 --create-home dragunov
COPY --from=build /dragunov /usr/local/bin/dragunov
ENV DRAGUNOV_DEVICE=cuda:0
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s \
  CMD test -n "$RUNPOD_WEBHOOK_GET_JOB" || curl -fsS http://127.0.0.1:8000/readyz
USER dragunov
CMD ["dragunov", "worker"]
