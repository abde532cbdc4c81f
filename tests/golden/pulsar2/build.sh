#!/bin/sh
# Compiles net for AX630C with AXera's Pulsar2. The result is build/compiled.axmodel beside this file.
# The tool is the container image $PULSAR2_IMAGE (run by $PULSAR2_ENGINE: docker, or podman), else pulsar2 on PATH, else
# $PULSAR2_HOME/bin/pulsar2.
# PULSAR2_ENGINE_OPTIONS and PULSAR2_RUN_OPTIONS are words for the engine: before its command, and of its run.
set -eu
cd -- "$(dirname -- "$0")"
set -- build --input ../model.onnx --config config.json --output_dir build --target_hardware AX620E --npu_mode NPU2
if [ ! -f ../model.onnx ]; then
  echo "../model.onnx is not here: it belongs beside the chips' folders" >&2
  exit 3
fi

if [ -n "${PULSAR2_IMAGE:-}" ]; then
  root=$(cd ../.. && pwd)
  licences=
  [ ! -d /var/hasplm ] || licences=--volume=/var/hasplm:/var/hasplm
  # The words are meant to be split.
  # shellcheck disable=SC2086
  exec "${PULSAR2_ENGINE:-docker}" ${PULSAR2_ENGINE_OPTIONS:-} run --rm --pull never --network none \
    --volume "$root:/data" $licences --workdir /data/pulsar2/AX630C ${PULSAR2_RUN_OPTIONS:-} \
    --entrypoint /bin/sh "$PULSAR2_IMAGE" -c 'PATH=/usr/local/bin/.venv/bin:/opt/pulsar2:$PATH; export PATH
mkdir -p /root/.hasplm/installed/32434
for file in /root/*.v2c; do [ ! -e "$file" ] || cp "$file" /root/.hasplm/installed/32434/; done
pass_on() { kill -TERM "$tool" 2>/dev/null; }
trap pass_on TERM INT
"$@" & tool=$!
wait "$tool"; status=$?
while kill -0 "$tool" 2>/dev/null; do wait "$tool"; status=$?; done
chown -hR --reference=/data /data || :
exit "$status"
' sh pulsar2 "$@"
elif command -v pulsar2 >/dev/null 2>&1; then
  exec pulsar2 "$@"
elif [ -n "${PULSAR2_HOME:-}" ]; then
  exec "$PULSAR2_HOME/bin/pulsar2" "$@"
fi
echo "no Pulsar2 toolchain: put pulsar2 on PATH, set PULSAR2_HOME, or name a loaded image in PULSAR2_IMAGE" >&2
exit 3
