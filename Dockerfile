# One image for each program: `docker build --target api .` and `--target worker .`; docker-compose.yml builds both.

# Dependencies are compiled in a layer of their own, which stays until Cargo.lock changes (cargo-chef).
FROM lukemathwalker/cargo-chef:0.1.77-rust-1.95.0-bookworm AS chef
WORKDIR /build
# The image's own compiler: rust-toolchain.toml names the same one, with clippy and rustfmt, which would be downloaded.
ENV RUSTUP_TOOLCHAIN=1.95.0
# The queries are checked against the committed .sqlx, since no database is here.
ENV SQLX_OFFLINE=true

FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS builder
COPY --from=planner /build/recipe.json recipe.json
RUN cargo chef cook --release --locked --package hamro-api --package hamro-worker --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked --bins --package hamro-api --package hamro-worker

# Debian's release is the builder's: a program does not run on an older C library than it was linked with.
FROM debian:bookworm-slim AS runtime
# For a PostgreSQL or a RabbitMQ behind TLS.
COPY --from=builder /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /

FROM runtime AS worker
COPY --from=builder /build/target/release/hamro-worker /usr/local/bin/hamro-worker
ENV WORKER_HTTP_PORT=3001
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["hamro-worker", "healthcheck"]
ENTRYPOINT ["hamro-worker"]

FROM runtime AS api
COPY --from=builder /build/target/release/hamro-api /usr/local/bin/hamro-api
# Inside a container the loopback interface is of no use to anybody outside.
ENV HOST=0.0.0.0 PORT=3000
EXPOSE 3000
# The image has no curl: the program asks its own /health/ready.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["hamro-api", "healthcheck"]
ENTRYPOINT ["hamro-api"]
