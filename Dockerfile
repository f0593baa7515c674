# Build: pingora's zlib-ng needs cmake and make.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake make gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# What `yychat --version` says, such as "0.1.0 (abcdef012345)".
ARG YYCHAT_VERSION
RUN cargo build --profile dist --locked --bin yychat
# Defaults that hold in a container stand in the file, where a file of one's own takes their place.
RUN sed -e 's|^listen = "127.0.0.1:8000"|listen = "0.0.0.0:8000"|' \
        -e 's|^path = "data/memory"|path = "/data/memory"|' \
        -e 's|^format = "text"|format = "json"|' conf/yychat.toml >image.toml \
    && [ "$(diff conf/yychat.toml image.toml | grep -c '^>')" = 3 ] \
    && mv image.toml conf/yychat.toml

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin yychat \
    && install -d -o yychat /data
COPY --from=build /src/target/dist/yychat /usr/local/bin/yychat
# conf/yychat.toml, conf/personalities/ and plugins/ are looked for here: mount yours over them. A file
# of your own says `server.listen = "0.0.0.0:8000"` too.
WORKDIR /etc/yychat
COPY --from=build /src/conf/yychat.toml conf/yychat.toml
COPY conf/personalities conf/personalities
COPY plugins plugins
# Only /data is written to: the root may be mounted read-only. A listener that others reach needs
# a key, so that `docker run` without YYCHAT_API_KEY says so and ends.
USER 10001
VOLUME /data
EXPOSE 8000 9090
# bash speaks TCP by itself, which spares the image an HTTP client.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/9090 && printf 'GET /livez HTTP/1.0\\r\\n\\r\\n' >&3 && read -r status <&3 && [[ $status == *' 200 '* ]]"]
ENTRYPOINT ["yychat"]
