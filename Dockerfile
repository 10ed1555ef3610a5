# One image per program: `docker build --target api .` and `--target worker .`. docker-compose.yml builds both.

# cargo-chef compiles the dependencies in a separate layer, which is cached until Cargo.lock changes.
FROM lukemathwalker/cargo-chef:0.1.77-rust-1.95.0-bookworm AS chef
WORKDIR /build
# Use the image's compiler. rust-toolchain.toml names the same version, but would also download clippy and rustfmt.
ENV RUSTUP_TOOLCHAIN=1.95.0
# No database is available here: check the queries against the committed .sqlx.
ENV SQLX_OFFLINE=true

FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS builder
COPY --from=planner /build/recipe.json recipe.json
RUN cargo chef cook --release --locked --package hamro-api --package hamro-worker --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked --bins --package hamro-api --package hamro-worker

# The same Debian release as the builder: a program does not run with an older C library than it was linked against.
FROM debian:bookworm-slim AS runtime
# For TLS connections to PostgreSQL or RabbitMQ.
COPY --from=builder /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# Numeric, so that Kubernetes can verify that it is not root.
USER 10001:10001
WORKDIR /

FROM runtime AS worker
COPY --from=builder /build/target/release/hamro-worker /usr/local/bin/hamro-worker
ENV WORKER_HTTP_PORT=3001
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["hamro-worker", "healthcheck"]
ENTRYPOINT ["hamro-worker"]

FROM runtime AS api
COPY --from=builder /build/target/release/hamro-api /usr/local/bin/hamro-api
# The default loopback address is not reachable from outside the container.
ENV HOST=0.0.0.0 PORT=3000
EXPOSE 3000
# The image has no curl, so the program requests its own /health/ready.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["hamro-api", "healthcheck"]
ENTRYPOINT ["hamro-api"]
