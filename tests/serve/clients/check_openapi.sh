#!/usr/bin/env bash
# check_openapi.sh URL [schemathesis run's options]: whether the server does what its OpenAPI file says:
# all checks, over the bounds of every field and random bodies. A model that answers at once is best
# (make_tiny_model.py). Needs schemathesis in $PATH, or $SCHEMATHESIS.
set -euo pipefail
url=$1
shift
cd "$(dirname "${BASH_SOURCE[0]}")"
export SCHEMATHESIS_HOOKS=openapi_hooks PYTHONPATH=.
exec "${SCHEMATHESIS:-schemathesis}" run "$url/openapi.json" --checks all --continue-on-failure --seed "${SEED:-1}" "$@"
