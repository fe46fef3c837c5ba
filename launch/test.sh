#!/usr/bin/env bash
# Sets the machine up, builds limbic with its tests, runs them, and ends with one line:
#   N passed, N failed, N skipped
# Options go to ctest: launch/test.sh -R tokenizer, launch/test.sh -L unit. A build that fails is
# one failed test. The exit status is 0 only when something ran and nothing failed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

readonly results=build/release/tests.xml

if ! ./launch/setup.sh --tests; then
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
fi

# Heavy tests (distributed, e2e, parity) say themselves that they want to run alone.
rm -f "$results"
status=0
ctest --test-dir build/release --output-on-failure --parallel "${LIMBIC_JOBS:-$(nproc)}" \
  --output-junit tests.xml "$@" || status=$?

# A test that ctest could not start stands as skipped in its file, with a reason other than a skip.
/usr/bin/python3 - "$results" "$status" <<'PYTHON'
import sys
import xml.etree.ElementTree as ElementTree

passed, failed, skipped = 0, [], []
try:
    cases = list(ElementTree.parse(sys.argv[1]).getroot().iter("testcase"))
except (OSError, ElementTree.ParseError) as error:
    print(f"error: launch/test.sh: got no readable results of ctest: {error}", file=sys.stderr)
    cases = []
for case in cases:
    skip = case.find("skipped")
    if case.get("status") == "run":
        passed += 1
    elif case.get("status") == "disabled" or (
            skip is not None and skip.get("message", "").startswith("SKIP_")):
        skipped.append(case.get("name"))
    else:
        failed.append(case.get("name"))
for title, names in (("skipped", skipped), ("failed", failed)):
    for name in names:
        print(f"{title}: {name}")
lost = 1 if int(sys.argv[2]) != 0 and not failed else 0
if lost:
    print(f"error: launch/test.sh: ctest itself ended with status {sys.argv[2]}", file=sys.stderr)
sys.stderr.flush()
print(f"{passed} passed, {len(failed) + lost} failed, {len(skipped)} skipped", flush=True)
sys.exit(1 if failed or lost or passed == 0 else 0)
PYTHON
