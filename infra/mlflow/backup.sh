#!/usr/bin/env bash
# Back MLflow's database up, restore it, or move it to a new MLflow version; the database is the one that PG* names.
#   backup.sh save FILE          FILE may be s3://bucket/name.dump
#   backup.sh restore FILE       replaces what is there; stop the server first
#   backup.sh migrate            to the tables of the installed MLflow; save and stop the server first
#   backup.sh copy FILE TARGET   to or from s3://, with the AWS_* of the environment
# Artifacts are in the bucket: turn its versioning on, or copy it, after the database (a run without an artifact is
# worse than an artifact without a run).
set -euo pipefail

copy() {
  "${PYTHON:-python}" - "$1" "$2" <<'PYTHON'
import os, sys
from pyarrow.fs import copy_files
copy_files(*(name if "://" in name else os.path.abspath(name) for name in sys.argv[1:]))
PYTHON
}

save() {
  local file="$1" dump="$1"
  case "$file" in s3://*) dump="$(mktemp)" ;; *) umask 077 ;; esac
  pg_dump --format=custom --no-owner --file "$dump.part"
  # Read once before it counts as a backup.
  pg_restore --list "$dump.part" > /dev/null
  mv "$dump.part" "$dump"
  case "$file" in s3://*) copy "$dump" "$file"; rm "$dump" ;; esac
  echo "saved $file"
}

restore() {
  local file="$1" dump="$1"
  case "$file" in s3://*) dump="$(mktemp)"; copy "$file" "$dump" ;; esac
  pg_restore --clean --if-exists --no-owner --exit-on-error --single-transaction \
    --dbname "${PGDATABASE:?the database to restore into}" "$dump"
  case "$file" in s3://*) rm "$dump" ;; esac
  echo "restored $file"
}

migrate() {
  "${PYTHON:-python}" -m mlflow db upgrade postgresql+psycopg://
  "${PYTHON:-python}" -m mlflow.server.auth db upgrade --url postgresql+psycopg://
}

case "${1:-}" in
  save | restore) "$1" "${2:?a file}" ;;
  migrate) migrate ;;
  copy) copy "${2:?a file}" "${3:?a target}" ;;
  *) sed -n '2,7p' "$0" >&2; exit 2 ;;
esac
