#!/usr/bin/env bash
# The image's install steps, in a script of their own so that they also run without a container engine (in a chroot):
#   install.sh dependencies cu130|cpu    Python packages, into /opt/venv, at the versions of requirements.lock
#   install.sh system                    Debian packages and the user that Ray runs as
#   install.sh raylift                   Raylift itself, from the sources next to this script
set -euo pipefail
src="$(cd "$(dirname "$0")/../.." && pwd)"
venv=/opt/venv

install_dependencies() {
  local torch="$1" options=()
  python3.11 -m venv "$venv"
  "$venv/bin/pip" install --no-cache-dir --quiet uv==0.13.9
  # The lock also holds the tests' packages: as constraints, its versions apply to what is installed and to no more.
  case "$torch" in
    cpu) options=(--torch-backend cpu --excludes "$src/infra/image/without_gpu.txt") ;;
    cu130) ;;
    *) echo "unknown torch build $torch: use cu130 or cpu" >&2; exit 2 ;;
  esac
  # Metadata of a project without its packages is enough to know what it needs.
  mkdir -p "$src/platform/raylift"
  "$venv/bin/uv" pip install --quiet --link-mode copy --python "$venv/bin/python" \
    --constraint "$src/requirements.lock" ${options[@]+"${options[@]}"} "raylift[cluster] @ file://$src"
  "$venv/bin/uv" pip uninstall --quiet --python "$venv/bin/python" raylift
}

install_system() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update
  # rsync and ssh: Ray's launcher copies files into the container and sets workers up from it. wget: KubeRay's probes.
  # procps: Ray's ps and pkill. git: for job working directories fetched by revision. tini: reaps orphaned processes.
  apt-get -qq install --no-install-recommends -y \
    bash ca-certificates git openssh-client procps rsync tini wget > /dev/null
  rm -rf /var/lib/apt/lists/*
  useradd --create-home --uid 1000 --shell /bin/bash ray
  # Made here so that Docker does not make it, owned by root, when a token is mounted there.
  install -d -o ray -g ray -m 700 /home/ray/.ray
  # Login shells, which Ray's launcher uses, take their PATH from here.
  echo "export PATH=$venv/bin:\$PATH" > /etc/profile.d/raylift.sh
}

install_raylift() {
  "$venv/bin/uv" pip install --quiet --no-deps --python "$venv/bin/python" "$src"
  mkdir -p /opt/raylift/infra
  cp -r "$src/jobs" "$src/tuning" /opt/raylift/
  cp -r "$src/infra/mlflow" "$src/infra/image" /opt/raylift/infra/
  "$venv/bin/python" -m compileall -q /opt/raylift "$venv"/lib/python3.11/site-packages/raylift
  "$venv/bin/python" -c "import raylift.runs.train"
}

case "${1:-}" in
  dependencies) install_dependencies "${2:-cu130}" ;;
  system) install_system ;;
  raylift) install_raylift ;;
  *) sed -n '2,6p' "$0" >&2; exit 2 ;;
esac
