#!/usr/bin/env bash
# Build the image from a clean checkout: infra/image/build.sh cuda|cpu [TAG]
# The tag is raylift:REVISION-cuda by default, so that no two commits share one.
set -euo pipefail
cd "$(dirname "$0")/../.."

kind="${1:-}"
case "$kind" in
  cuda) torch=cu130 ;;
  cpu) torch=cpu ;;
  *) echo "usage: $0 cuda|cpu [TAG]" >&2; exit 2 ;;
esac
revision="$(git rev-parse HEAD)"
test -z "$(git status --porcelain --untracked-files=no)" || revision="$revision-dirty"
tag="${2:-raylift:${revision:0:12}-$kind}"

DOCKER_BUILDKIT=1 docker build -f infra/image/Dockerfile -t "$tag" \
  --build-arg TORCH="$torch" --build-arg GIT_REVISION="$revision" .
echo "$tag"
