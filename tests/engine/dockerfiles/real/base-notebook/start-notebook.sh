#!/bin/bash
set -e
exec jupyter lab "$@"
