#!/usr/bin/env bash
# The AWS templates of bff/deploy: cfn-lint, checkov, and what those do not see.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ci-lib.sh
python_with cfn-lint-1.58.0 'cfn-lint==1.58.0' 'checkov==3.3.30'
bin="$(dirname "$python")"
templates=(bff/deploy/{template,network,data,app}.yaml)
"$bin/cfn-lint" "${templates[@]}"
echo "cfn-lint: nothing found"
# Its rules are in the package; what it would fetch are links to explanations.
"$bin/checkov" --compact --quiet --skip-download --framework cloudformation --directory bff/deploy 2>/dev/null
"$python" bff/deploy/check.py --selftest
