#!/bin/sh
echo "listening, version $WEB_VERSION"
