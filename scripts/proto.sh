#!/bin/sh
# Makes the code in src/tocsin/v1 from proto/. A test fails when what is committed is not what this makes.
# With an argument it goes below that directory instead.
set -eu

.venv/bin/python -m grpc_tools.protoc --proto_path=proto --python_out="${1:-src}" --pyi_out="${1:-src}" \
    proto/tocsin/v1/*.proto
