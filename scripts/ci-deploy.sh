#!/usr/bin/env bash
# The AWS templates of bff/deploy: cfn-lint, checkov, and what those do not see.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ci-lib.sh
need_program python3 python3
venv="$cache/cfn-lint-1.58.0"
if ! "$venv/bin/python" -c 'import cfnlint, checkov' 2>/dev/null; then
  rm -rf "$venv"
  if ! python3 -m venv "$venv" 2>/dev/null; then
    fetch "Debian's python3-venv" scripts/install-test-packages python3-venv
    python3 -m venv "$venv"
  fi
  fetch "cfn-lint and checkov (PyPI)" "$venv/bin/pip" install --disable-pip-version-check 'cfn-lint==1.58.0' 'checkov==3.3.30'
fi
templates=(bff/deploy/{template,network,data,app}.yaml)
"$venv/bin/cfn-lint" "${templates[@]}"
echo "cfn-lint: nothing found"
# Its rules are in the package; what it would fetch are links to explanations.
"$venv/bin/checkov" --compact --quiet --skip-download --framework cloudformation --directory bff/deploy 2>/dev/null
"$venv/bin/python" bff/deploy/check.py --selftest
