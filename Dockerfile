# Build: pingora's zlib-ng needs cmake and make.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake make gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin yychat \
    && install -d -o yychat /data
COPY --from=build /src/target/release/yychat /usr/local/bin/yychat
WORKDIR /app
COPY conf conf
COPY plugins plugins
# Only /data is written to: the root may be mounted read-only. A listener that others reach needs
# a key, so that `docker run` without YYCHAT_API_KEY says so and ends.
ENV YYCHAT__SERVER__LISTEN=0.0.0.0:8000 \
    YYCHAT__MEMORY__PATH=/data/memory \
    YYCHAT__LOG__FORMAT=json
USER 10001
VOLUME /data
EXPOSE 8000 9090
# bash speaks TCP by itself, which spares the image an HTTP client.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/9090 && printf 'GET /livez HTTP/1.0\\r\\n\\r\\n' >&3 && read -r status <&3 && [[ $status == *' 200 '* ]]"]
ENTRYPOINT ["yychat"]
