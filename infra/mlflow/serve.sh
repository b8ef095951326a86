#!/usr/bin/env bash
# The MLflow server as every installation here runs it: PostgreSQL, artifacts on S3 through the server, users and passwords.
# From the environment, so that no secret is in a command line:
#   PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE    the database (libpq's own variables)
#   MLFLOW_ARTIFACTS                              s3://bucket/folder, with AWS_* for its keys, region and endpoint
#   MLFLOW_AUTH_ADMIN_PASSWORD                    of the user "admin", when the database is empty
#   MLFLOW_FLASK_SERVER_SECRET_KEY                signs the forms of the user pages
#   MLFLOW_HOST, MLFLOW_PORT                      where to listen (127.0.0.1, 5000)
#   MLFLOW_ALLOWED_HOSTS                          names that clients call the server by, against DNS rebinding
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
: "${PGDATABASE:?the database to keep runs in}" "${MLFLOW_ARTIFACTS:?s3://bucket/folder for artifacts}"
: "${MLFLOW_FLASK_SERVER_SECRET_KEY:?a random string}"

export MLFLOW_AUTH_CONFIG_PATH="${MLFLOW_AUTH_CONFIG_PATH:-$here/basic_auth.ini}"
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
exec "${PYTHON:-python}" -m mlflow server \
  --host "${MLFLOW_HOST:-127.0.0.1}" --port "${MLFLOW_PORT:-5000}" --workers "${MLFLOW_WORKERS:-2}" \
  --allowed-hosts "${MLFLOW_ALLOWED_HOSTS:-localhost:*,127.0.0.1:*}" \
  --backend-store-uri postgresql+psycopg:// --artifacts-destination "$MLFLOW_ARTIFACTS" --app-name basic-auth
