#!/usr/bin/env bash
set -Eeo pipefail
echo "locale $(locale -k charmap | head -n1), data $PGDATA"
