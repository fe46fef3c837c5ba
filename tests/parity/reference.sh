#!/usr/bin/env bash
# limbic beside transformers, peft, trl and tokenizers. See usage below, or --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: tests/parity/reference.sh [regenerate|table|adapters] [options]

Makes the Python environment of the golden files (once) and runs one of

  regenerate   every generator of golden files, in a copy of the tree; says file by file whether it
               gives the same again (the default)
  table        limbic against transformers, family by family: log-probabilities, gradients, greedy
               tokens, LoRA, exported folders; wants build/release/limbic
  adapters     adapters that one of limbic and peft has trained, in the other; wants it too

with the options, of which --help tells. Exit code 1: something differs.

Environment:
  LIMBIC_REFERENCE_VENV   the environment (default ~/.cache/limbic/reference), about 1 GB
  LIMBIC_VENV             the build's, whose torch it takes (default ~/.cache/limbic/venv)
TEXT
}

readonly here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
readonly wanted=$here/requirements.txt
readonly venv=${LIMBIC_REFERENCE_VENV:-$HOME/.cache/limbic/reference}
readonly torch=${LIMBIC_VENV:-$HOME/.cache/limbic/venv}

fail() {
  echo "error: tests/parity/reference.sh: $*" >&2
  exit 2
}

# A second copy of torch would be 5 GB: the build's is taken. What is installed here goes first.
make_environment() {
  local packages
  packages=$(echo "$torch"/lib/python3*/site-packages)
  [[ -d $packages/torch ]] ||
    fail "got no torch in $torch, want the build's; run launch/setup.sh --no-build"
  mkdir -p "$(dirname "$venv")"
  exec 7>"$venv.lock"
  flock 7
  if ! cmp -s "$wanted" "$venv/installed.txt"; then
    echo "reference: making $venv, about two minutes" >&2
    /usr/bin/python3 -m venv "$venv"
    "$venv/bin/python" -m pip --disable-pip-version-check install -q --no-deps -r "$wanted"
    cp "$wanted" "$venv/installed.txt"  # last: an install that was cut off is done again
  fi
  echo "$packages" >"$(echo "$venv"/lib/python3*/site-packages)/limbic_torch.pth"
  exec 7>&-
}

script=regenerate
case ${1:-} in
  -h | --help) usage; exit 0 ;;
  regenerate | table | adapters) script=$1; shift ;;
  "" | -*) ;;
  *) fail "got '$1', want regenerate, table or adapters; see --help" ;;
esac
make_environment
# One thread, so that sums have one order; models come from folders only; no bars, no advice.
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
export TQDM_DISABLE=1 TRANSFORMERS_VERBOSITY=error PYTHONWARNINGS=ignore
exec "$venv/bin/python" "$here/$script.py" "$@"
