# What the images redis and prom/prometheus bring, from Debian.
FROM aitbc-test/base
RUN apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends redis-server prometheus wget
RUN install -d -o redis -g redis /data && install -d -o nobody -g nogroup /prometheus
