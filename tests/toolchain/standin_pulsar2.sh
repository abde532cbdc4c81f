#!/bin/sh
# A stand-in for pulsar2 inside a test image: its command line, its licence check and its output tree; it compiles nothing.
# The model's first word tells it how to behave: good, exit N, signal, hang, deaf (to TERM) or disk.
set -u

version() { printf 'version: %s\ncommit: 0000standin\n' "${STANDIN_VERSION:-7.0-standin}"; }

fail() { echo "yamain.common.error.CodeException: (<ErrorCode.$1>, $2)" >&2; exit "$3"; }

build() {
  model='' config='' out='' name=compiled.axmodel
  while [ $# -gt 0 ]; do
    case "$1" in
      --input) model=$2 ;;
      --config) config=$2 ;;
      --output_dir) out=$2 ;;
      --output_name) name=$2 ;;
      --target_hardware | --npu_mode | --work_dir | --input_shapes | --quant.* | --compiler.*) : ;;
      *) echo "pulsar2 build: error: unrecognized arguments: $1" >&2; exit 2 ;;
    esac
    shift 2
  done
  [ -f "$config" ] || fail 'ConfigError: 1' "no file '$config'" 2
  [ -f "$model" ] || fail 'FrontendError: 2' "no file '$model'" 3
  read -r word rest <"$model"
  echo "[info] network: $(sed -n 's/^ *\([a-z0-9]*\):.*/\1/p' /proc/net/dev | tr '\n' ' ')"
  echo "[info] user: $(id -u)"
  echo "[info] memory: $(cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null)"
  mkdir -p "$out/frontend" "$out/quant/debug" || exit 1
  cp "$model" "$out/frontend/optimized.onnx" || exit 1
  echo '{}' >"$out/build_context.json"
  case "$word" in
    exit) exit "$rest" ;;
    signal) kill -KILL $$ ;;
    hang) sleep 600 & echo "[info] calibrating" && echo started >"$out/started"; wait ;;
    deaf) trap '' TERM; echo started >"$out/started"; while :; do sleep 1; done ;;
    disk) dd if=/dev/zero of="$out/weights" bs=64k count=64 || exit 1 ;;
  esac
  ls /root/.hasplm/installed/32434/*.v2c >/dev/null 2>&1 ||
    fail 'NPUBackendError: 8' "RuntimeError('Sentinel key not found (H0007)')" 8
  printf 'stand-in, no model\n' >"$out/$name" || exit 1
  echo '[info] max_cycle = 123456'
}

run() {
  [ $# -ge 4 ] || { echo "usage: pulsar2 run --model M --input_dir I --output_dir O" >&2; exit 2; }
  mkdir -p "$6/0" && cp "$4"/0/*.bin "$6/0/output.bin" && echo "write [output] to [$6/0/output.bin] successfully"
}

case "${1-}" in
  version) version ;;
  build) shift; build "$@" ;;
  run) shift; run "$@" ;;
  *) echo "usage: pulsar2 {version,build,run} ..." >&2; exit 2 ;;
esac
