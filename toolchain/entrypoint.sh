#!/bin/sh
# Runs a command of the Pulsar2 image: licence files in place, signals passed on, and what it writes owned by the caller.
# Workbench gives the same lines to plain vendor images (CONTAINER_SCRIPT in workbench/runtimes/pulsar2_tool.py).
PATH=/usr/local/bin/.venv/bin:/opt/pulsar2:$PATH; export PATH
mkdir -p /root/.hasplm/installed/32434
for file in /root/*.v2c; do [ ! -e "$file" ] || cp "$file" /root/.hasplm/installed/32434/; done
pass_on() { kill -TERM "$tool" 2>/dev/null; }
trap pass_on TERM INT
"$@" & tool=$!
wait "$tool"; status=$?
while kill -0 "$tool" 2>/dev/null; do wait "$tool"; status=$?; done
chown -hR --reference=/data /data || :
exit "$status"
