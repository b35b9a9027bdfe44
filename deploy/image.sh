#!/bin/sh
# image.sh PROGRAM FOLDER: puts together in FOLDER everything that an image of PROGRAM needs: itself, without its symbols,
# in /usr/bin, the libraries that it names and their loader where it looks for them, and how names are resolved. There is no
# shell, no package and no other program in it.
set -eu

program=$1
folder=$2
mkdir -p "$folder/usr/bin" "$folder/etc"
strip -o "$folder/usr/bin/$(basename "$program")" "$program"
# `name => /path (address)`, or only a path for the loader, or only a name for what the kernel provides. Links are followed.
for library in $(ldd "$program" | grep -o '/[^ ]*'); do
    cp --dereference --parents "$library" "$folder"
done
# Names of other containers come from the engine's resolver; /etc/hosts, which the engine writes, comes first.
echo 'hosts: files dns' >"$folder/etc/nsswitch.conf"
