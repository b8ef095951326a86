#!/usr/bin/env bash
# Run a job of the image: job.sh train.py implicit/paper --data bucket:datasets/seats --storage bucket:runs ...
# "bucket:" stands for RAYLIFT_BUCKET, so that a manifest does not repeat the bucket in its command. Ray passes commands
# through several shells, none of which sees a variable this way.
set -euo pipefail
job="${1:?a script of jobs/, such as train.py}"; shift
arguments=()
for argument in "$@"; do
  case "$argument" in
    bucket:*) argument="${RAYLIFT_BUCKET:?s3://bucket, or a folder of it}/${argument#bucket:}" ;;
  esac
  arguments+=("$argument")
done
exec "${PYTHON:-python}" "$(dirname "$0")/../../jobs/$job" "${arguments[@]}"
