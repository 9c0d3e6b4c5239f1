FROM python:3.13-slim
WORKDIR /app
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY bot ./bot
COPY handlers ./handlers
# The SQLite file must outlive the container: mount a volume here, or set DATABASE_URL to PostgreSQL.
RUN mkdir /data && chown 65534 /data
VOLUME /data
ENV DATABASE_URL=sqlite:////data/remediation-bot.db
USER 65534
EXPOSE 3000
CMD ["python", "-m", "bot"]
