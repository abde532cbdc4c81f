#!/bin/sh
# Runs a command of the Pulsar2 image: licence in place, signals passed on, and what it writes owned by the caller.
# Plain vendor images get the same steps from Workbench itself (CONTAINER_SCRIPT in workbench/runtimes/pulsar2_tool/).
set -u
installed=/root/.hasplm/installed/32434

usage() {
  cat <<'TEXT'
Pulsar2, wrapped: its licence is put in place, and what it writes below /data gets the owner of the mounted folder.

  docker run --rm --network none -v "$PWD:/data" IMAGE build --config config.json --input model.onnx --output_dir out
  docker run --rm --network none -v "$PWD:/data" IMAGE run --model out/compiled.axmodel --input_dir in --output_dir out
  docker run --rm IMAGE version
  docker run --rm -it --network none -v "$PWD:/data" IMAGE bash

podman takes the same words. Leave out --user and --userns keep-id. Licence files of your own: -v FOLDER:/licence:ro,
copied to /root/.hasplm; licence state of the host: -v /var/hasplm:/var/hasplm.
TEXT
}

# Process 1 has every other process of the container in its hands; with --init or --pid host there is only the tool.
# KILL comes before the engine's own, 10 s after its TERM: that would leave files that nobody has given to the caller.
stop() {
  stopped=yes
  if [ $$ -eq 1 ]; then
    kill -s TERM -- -1
    (sleep 3 && kill -s KILL -- -1) &
  elif [ -n "$tool" ]; then
    kill -s TERM "$tool"
  fi 2>/dev/null
}

put_licence() {
  [ ! -d /licence ] || { mkdir -p /root/.hasplm && cp -R /licence/. /root/.hasplm/; }
  mkdir -p "$installed"
  for file in /root/*.v2c; do
    [ ! -e "$file" ] || cp "$file" "$installed/"
  done
  [ "$1" != build ] || [ -d /var/hasplm ] || ls "$installed"/*.v2c >/dev/null 2>&1 ||
    echo "workbench: no licence: no /root/*.v2c in the image, no /licence, no /var/hasplm; expect H0007" >&2
}

tool='' stopped=''
trap stop TERM INT HUP

case "${1-}" in
  '') usage >&2; exit 2 ;;
  -h | --help | help) usage; exit 0 ;;
  build | run | version) set -- pulsar2 "$@" ;;
esac
if [ "$(id -u)" -ne 0 ]; then
  echo "workbench: start it without --user and --userns: it is root inside, and you get what it writes" >&2
  exit 2
fi
put_licence "${2-}"

# Only what root has written since the start is given away: the folder may hold files of others. Status changes count in
# steps of the file system's clock, hence the second before.
start=$(($(date +%s) - 1))
if [ -t 0 ] && [ "$1" != pulsar2 ]; then # a shell that somebody types into: in the background it could not be interrupted
  "$@"
  status=$?
else
  "$@" <&0 &
  tool=$!
  [ -z "$stopped" ] || stop
  wait "$tool"
  status=$?
  while kill -s 0 "$tool" 2>/dev/null; do
    wait "$tool"
    status=$?
  done
fi
[ $$ -ne 1 ] || kill -s KILL -- -1 2>/dev/null # what the tool left behind would go on writing
find /data -uid 0 -newerct "@$start" -exec chown -h --reference=/data {} + || :
exit "$status"
